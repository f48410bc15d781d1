"""What every model promises, as tests that an author runs on a model of their own.

In a test file of yours (pytest finds the methods)::

    from models.contract import ModelContract

    class TestMine(ModelContract):
        def make(self):
            return Mine()

or anywhere: `check(Mine)`, which raises AssertionError at the first promise that is not kept. The package
then names its class in the entry point group `onefold.models`; training, the leaderboard, blends and
serving take it from there::

    [project.entry-points."onefold.models"]
    mine = "my_package:Mine"

A model is made without arguments; a class method `grid()` may give the settings to try.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.errors import ModelError
from models.interactions import DAY_MS, About, Interactions, Row
from models.protocol import NOBODY, History, Model
from profiles.facts import Kind

NOW: Final = 1_790_000_000_000
_TEA: Final = ("tea", "cup", "honey")
_DOG: Final = ("leash", "bone", "bowl")


def shop() -> Interactions:
    """Half of sixty people buy things for tea, half for dogs, two to an order; all buy salt."""
    rows: list[Row] = []
    for person in range(60):
        liked = _TEA if person % 2 else _DOG
        for n in range(8):
            at = NOW - ((person * 7 + n * 13) % 110 + 1) * DAY_MS
            rows += [
                (f"p{person}", liked[(person + n + k) % 3], Kind.BOUGHT, at, 1.0) for k in (0, 1)
            ]
        rows.append((f"p{person}", "salt", Kind.BOUGHT, NOW - 5 * DAY_MS, 1.0))
        rows.append((f"p{person}", liked[0], Kind.VIEWED, NOW - DAY_MS, 1.0))
    return Interactions.of(rows).described({item: About(item) for item in (*_TEA, *_DOG, "salt")})


def history(known: Interactions, *done: tuple[str, Kind]) -> History:
    """Events a day apart, the last one a day ago."""
    code = known.item_code
    return History(
        np.array([code[item] for item, _ in done], np.int32),
        np.array([kind for _, kind in done], np.int8),
        np.array([NOW - (len(done) - n) * DAY_MS for n in range(len(done))], np.int64),
        np.ones(len(done), np.float32),
        NOW,
    )


class ModelContract:
    """Inherit from it and say in `make` how a model is made; pytest runs the rest."""

    def make(self) -> Model:
        """A new model, not fitted."""
        raise NotImplementedError("say in `make` how your model is made")

    def _fitted(self) -> tuple[Model, Interactions]:
        known = shop()
        return self.make().fit(known, NOW), known

    def test_scores_are_finite_one_for_each_item(self) -> None:
        """float32, as many as there are items, for any history; or None."""
        model, known = self._fitted()
        said = 0
        for done in (
            [("tea", Kind.BOUGHT), ("cup", Kind.VIEWED)],
            [("bone", Kind.ADDED)],
            [("salt", Kind.BOUGHT)] * 300,
        ):
            scores = model.scores(history(known, *done))
            if scores is not None:
                said += 1
                _expect(scores.shape == known.items.shape, "one score for each item")
                _expect(scores.dtype == np.float32, "scores are float32")
                _expect(bool(np.isfinite(scores).all()), "scores are finite")
        _expect(said > 0, "somebody with a history has scores")

    def test_nobody_has_the_same_for_everybody_or_nothing(self) -> None:
        """A personal model has no scores for somebody of whom nothing is known; the others always."""
        model, _ = self._fitted()
        _expect((model.scores(NOBODY) is None) == model.personal, "None for nobody, if personal")

    def test_asking_changes_nothing(self) -> None:
        """Two answers are the same, and what is done with the first does not change the second."""
        model, known = self._fitted()
        asked = history(known, ("tea", Kind.BOUGHT), ("cup", Kind.VIEWED))
        first = model.scores(asked)
        kept = None if first is None else np.array(first)
        second = model.scores(asked)
        if kept is not None and second is not None:
            _expect(bool(np.array_equal(kept, second)), "the same question, the same answer")

    def test_what_is_saved_answers_as_before(self) -> None:
        """`parameters` and `arrays` are all that `restore` needs: JSON, and arrays without pickle."""
        model, known = self._fitted()
        restored = _stored(model)
        asked = history(known, ("tea", Kind.BOUGHT), ("cup", Kind.VIEWED))
        ours, theirs = model.scores(asked), restored.scores(asked)
        _expect((ours is None) == (theirs is None), "a restored model answers when it did")
        if ours is not None and theirs is not None:
            _expect(bool(np.allclose(ours, theirs, rtol=1e-5)), "a restored model answers the same")
        _expect(dict(restored.parameters()) == dict(model.parameters()), "settings are kept")

    def test_the_future_is_not_learned(self) -> None:
        """Nothing at or after `now_ms` may change what is learned, else no evaluation means anything."""
        past = shop()
        rows = [
            (str(past.users[u]), str(past.items[i]), int(k), int(t), float(q))
            for u, i, k, t, q in zip(
                past.user, past.item, past.kind, past.time_ms, past.quantity, strict=True
            )
        ]
        learned = []
        for item in ("tea", "bone"):
            later: list[Row] = [(f"p{n}", item, Kind.BOUGHT, NOW + n, 1.0) for n in range(50)]
            both = Interactions.of([*rows, *later]).described(past.about)
            learned.append(self.make().fit(both, NOW).arrays())
        _expect(learned[0].keys() == learned[1].keys(), "the same arrays")
        for name, array in learned[0].items():
            _expect(bool(np.array_equal(array, learned[1][name])), f"{name} holds the future")

    def test_reasons_are_of_the_history(self) -> None:
        """`because` names items that the person did something with, or -1."""
        model, known = self._fitted()
        asked = history(known, ("tea", Kind.BOUGHT), ("leash", Kind.VIEWED))
        causes = model.because(asked, np.arange(len(known.items), dtype=np.int32))
        if causes is not None and model.name not in ("buy_again", "recently_viewed"):
            _expect(set(causes.tolist()) <= {-1, *asked.items.tolist()}, "reasons are true")

    def test_likeness_is_finite(self) -> None:
        """`similar` has a finite score for each item, or there is no likeness."""
        model, known = self._fitted()
        for item in range(len(known.items)):
            likeness = model.similar(item)
            if likeness is not None:
                _expect(likeness.shape == known.items.shape, "one likeness for each item")
                _expect(bool(np.isfinite(likeness).all()), "likeness is finite")

    def test_little_data_does_no_harm(self) -> None:
        """One purchase gives finite scores or a ModelError; nothing gives a ModelError or no scores."""
        one = Interactions.of([("p", "tea", Kind.BOUGHT, NOW - DAY_MS, 1.0)])
        for known in (one, Interactions.of([])):
            try:
                scores = self.make().fit(known, NOW).scores(NOBODY)
            except ModelError:
                continue
            _expect(scores is None or bool(np.isfinite(scores).all()), "scores are finite")


def check(make: Callable[[], Model]) -> list[str]:
    """Run the suite; the promises that are kept. AssertionError at the first that is not."""

    class Suite(ModelContract):
        def make(self) -> Model:
            return make()

    suite = Suite()
    names = [name for name in dir(suite) if name.startswith("test_")]
    for name in names:
        getattr(suite, name)()
    return [name.removeprefix("test_").replace("_", " ") for name in names]


def _stored(model: Model) -> Model:
    """Saved as an artefact saves it, and restored."""
    settings = json.loads(json.dumps(dict(model.parameters())))
    with tempfile.TemporaryDirectory() as folder:
        for name, array in model.arrays().items():
            np.save(Path(folder) / f"{name}.npy", array, allow_pickle=False)
        arrays: dict[str, Any] = {
            path.stem: np.load(path, allow_pickle=False) for path in Path(folder).iterdir()
        }
    restored: Model = type(model).restore(settings, arrays)
    return restored


def _expect(true: bool, promise: str) -> None:
    if not true:
        raise AssertionError(f"not kept: {promise}")

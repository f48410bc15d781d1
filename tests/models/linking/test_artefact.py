"""A linking model is kept as arrays that are checked, and answers as before."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.errors import ArtefactError, NoSuchModel
from models.linking.artefact import KIND, load, save
from models.linking.learned import BOOSTED, LOGISTIC, Learned, learn
from models.linking.linking import Linked, Settings, link
from models.linking.registry import LinkingRegistry
from models.registry import CANDIDATE, CHAMPION
from tests.models.linking.test_blocking import crm


@pytest.fixture(scope="module")
def made() -> Linked:
    return link(crm(300), Settings(), now_ms=7, version="v1")


def stored(made: Linked, folder: Path, learned: Learned | None = None) -> Path:
    save(folder / "v1", made.linker.manifest, made.linker.model, learned)
    return folder / "v1"


def test_what_is_loaded_links_as_what_was_saved(made: Linked, tmp_path: Path) -> None:
    loaded = load(stored(made, tmp_path))
    again = link(made.people, Settings(), now_ms=9, version="unused", linker=loaded)
    assert again.pairs.odds.tolist() == made.pairs.odds.tolist()
    assert loaded.manifest.trained_ms == 7
    assert loaded.manifest.libraries.keys() == {"numpy", "scipy", "scikit-learn"}


def examples(
    count: int,
) -> tuple[
    np.ndarray[tuple[int, int], np.dtype[np.float32]], np.ndarray[tuple[int], np.dtype[np.int8]]
]:
    draw = np.random.default_rng(0)
    matrix = draw.random((count, 5)).astype(np.float32)
    labels = (matrix[:, 0] * matrix[:, 1] + 0.1 * draw.random(count) > 0.3).astype(np.int8)
    return matrix, labels


@pytest.mark.parametrize(("kind", "count"), [(LOGISTIC, 300), (BOOSTED, 1_500)])
def test_a_model_of_labels_is_kept_as_arrays(
    made: Linked, tmp_path: Path, kind: str, count: int
) -> None:
    matrix, labels = examples(count)
    rows = np.arange(count)
    learned, trials = learn(matrix, labels, np.zeros(count), rows, rows + count, 0)
    assert learned is not None
    assert learned.kind == kind
    assert min(trials, key=lambda trial: trial.log_loss).model == kind
    learned = learned._replace(arrays={**learned.arrays, "prior": np.array([-8.0])})
    loaded = load(stored(made, tmp_path, learned)).learned
    assert loaded is not None
    assert loaded.odds(matrix).tolist() == learned.odds(matrix).tolist()
    assert not list(tmp_path.rglob("*.pkl"))


def test_boosted_trees_answer_as_scikit_learn_does() -> None:
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    from models.linking import learned as module

    matrix, labels = examples(1_000)
    ours = module._fitted(BOOSTED, matrix, labels, 0)
    line = LogisticRegression(C=1.0, max_iter=1000)
    theirs = GradientBoostingClassifier(init=line, subsample=0.8, random_state=0).fit(
        matrix, labels
    )
    assert ours.odds(matrix) == pytest.approx(theirs.decision_function(matrix), abs=1e-3)


def test_probabilities_of_a_learned_model_are_true_on_labels_it_has_not_seen() -> None:
    matrix, labels = examples(4_000)
    rows = np.arange(3_000)
    learned, _ = learn(matrix[:3_000], labels[:3_000], np.zeros(3_000), rows, rows + 3_000, 0)
    assert learned is not None
    chance = 1 / (1 + np.exp(-learned.odds(matrix[3_000:])))
    for low, high in ((0.0, 0.2), (0.2, 0.8), (0.8, 1.0)):
        some = (chance >= low) & (chance <= high)
        assert chance[some].mean() == pytest.approx(labels[3_000:][some].mean(), abs=0.15)


def test_a_changed_file_is_refused(made: Linked, tmp_path: Path) -> None:
    folder = stored(made, tmp_path)
    np.save(folder / "match.npy", np.ones(3))
    with pytest.raises(ArtefactError, match=r"match\.npy: not the file that was saved"):
        load(folder)
    (folder / "match.npy").unlink()
    with pytest.raises(ArtefactError, match=r"match\.npy: missing"):
        load(folder)


def test_a_version_never_changes(made: Linked, tmp_path: Path) -> None:
    stored(made, tmp_path)
    with pytest.raises(ArtefactError, match="exists already"):
        stored(made, tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "recommender"}, "not a linking model"),
        ({"format": 99}, "not a linking model"),
        ({"comparisons": []}, "not a model of 0 comparisons"),
        (
            {"model": "logistic_regression"},
            "not the arrays of a model of kind 'logistic_regression'",
        ),
        ({"files": {"../x.npy": "0"}}, "is not a file of a model"),
        ({"records": "many"}, "not a manifest"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    made: Linked, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    folder = stored(made, tmp_path)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest["kind"] == KIND
    path.write_text(json.dumps(manifest | change))
    with pytest.raises(ArtefactError, match=said):
        load(folder)


def test_what_is_stored_holds_nobodys_name(made: Linked, tmp_path: Path) -> None:
    folder = stored(made, tmp_path)
    everything = b"".join(path.read_bytes() for path in folder.iterdir()).lower()
    for value in [*made.people.columns["given"].values, *made.people.columns["phone"].values]:
        assert len(value) < 5 or value.encode() not in everything


def test_the_registry_keeps_versions_and_says_which_one_answers(
    made: Linked, tmp_path: Path
) -> None:
    registry = LinkingRegistry(tmp_path)
    with pytest.raises(NoSuchModel, match="champion: no such linking model"):
        registry.load(CHAMPION)
    registry.push(made.linker)
    assert registry.load(CANDIDATE).manifest.version == "v1"
    assert registry.promote(CANDIDATE).version == "v1"
    assert registry.load(CHAMPION).manifest == registry.load("v1").manifest

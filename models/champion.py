"""The champion over time: whether a challenger beats it, how old it is, and how far the world has moved on."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from models import zoo
from models.artefact import Bundle, Manifest
from models.cases import PEOPLE_MIN, cases_of
from models.errors import ModelError
from models.evaluation import Leaderboard
from models.health import Health
from models.interactions import DAY_MS, Interactions
from models.judging import Ground, K, judge
from models.metrics import interval
from models.protocol import Model


class Challenge(msgspec.Struct, frozen=True):
    """What became of the champion's settings beside the best of a new leaderboard."""

    won: bool
    """The newcomer takes over. False: the champion's settings stay, and learn from the new data."""
    why: str
    models: Mapping[str, Model] = {}
    """The champion's models with their settings, not fitted for later, if they stay."""
    refusal: str = ""
    """Why even they must not be promoted now."""


def made(name: str, parameters: Mapping[str, Any]) -> Model:
    """A model with these settings, not fitted; ModelError if this code has no such model or setting."""
    settings = dict(parameters)
    try:
        if isinstance(parts := settings.pop("parts", None), str):
            settings["parts"] = [made(part, own) for part, own in json.loads(parts).items()]
        model: Model = zoo.class_of(name)(**settings)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{name} with {dict(parameters)}: {error}") from None
    return model


def challenge(interactions: Interactions, board: Leaderboard, champion: Manifest) -> Challenge:
    """Compare the best of a leaderboard with the champion's settings on the board's test window.

    Both learn from the same past, up to the window: the champion itself may have seen what it would be
    judged on. The newcomer wins if the 95 % interval of the paired difference on new items lies above 0.
    """
    name, settings = champion.champion, champion.parameters[champion.champion]
    best = board.best
    if (best.model, best.parameters) == (name, settings):
        return Challenge(True, "the champion's settings are the best again")
    try:
        holder = made(name, settings)
    except ModelError as error:
        return Challenge(True, f"the champion {champion.version} cannot be made again: {error}")
    start, end = board.test_start_ms, board.test_end_ms
    cases, _ = cases_of(interactions.until(end), start, end)
    ground = Ground(len(interactions.items))
    rivals = [made(best.model, best.parameters), holder]
    rivals += [made(row.model, row.parameters) for row in board.rows if row.model in zoo.BASELINES]
    values = [judge(each.fit(interactions, start), cases, ground).ndcg["novel"] for each in rivals]
    told, low = _difference(values[0], values[1])
    if low > 0:
        return Challenge(True, f"{best.model} beats the champion's {name}: {told}")
    why = f"{best.model} does not beat the champion's {name} on novel items: {told}"
    refusal = ""
    for rival, its in zip(rivals[2:], values[2:], strict=True):
        told, low = _difference(values[1], its)
        if low <= 0:
            refusal = f"{why}; and {name} does not beat {rival.name} any more: {told}"
    held = getattr(holder, "parts", [])
    return Challenge(False, why, {model.name: model for model in (*held, holder)}, refusal)


def _difference(one: Any, other: Any) -> tuple[str, float]:
    paired = (one - other)[~np.isnan(one - other)]
    low, high = interval(paired)
    mean = float(paired.mean()) if len(paired) else 0.0
    return f"nDCG@{K} difference {mean:+.4f} [{low:+.4f}, {high:+.4f}]", low


def health(bundle: Bundle, interactions: Interactions, now_ms: int) -> Health:
    """Staleness and drift of a loaded version. `interactions` are today's, of any codes."""
    manifest = bundle.manifest
    learned_ms = manifest.window_ms[1] + 1
    since = interactions.where(interactions.time_ms >= learned_ms)
    code = {item: n for n, item in enumerate(bundle.items)}
    known = np.array([code.get(str(item), -1) for item in interactions.items], np.int64)
    place = known[interactions.item] if len(interactions) else np.empty(0, np.int64)
    there = interactions.where(place >= 0)
    ours = Interactions(
        there.user, known[there.item].astype(np.int32), there.kind, there.time_ms, there.quantity,
        interactions.users, np.array(bundle.items, dtype=object),
    )  # fmt: skip
    cases, _ = cases_of(ours, learned_ms, now_ms + 1)
    people = sum(len(case.truth) > 0 for case in cases)
    quality = None
    if people >= PEOPLE_MIN:
        model = bundle.models[manifest.champion]
        values = judge(model, cases, Ground(len(bundle.items))).ndcg["novel"]
        values = values[~np.isnan(values)]
        quality = float(values.mean()) if len(values) else None
    board = manifest.leaderboard
    promised = next(
        (row.scores["novel"].ndcg for row in board.rows if row.model == manifest.champion), None
    ) if board is not None else None  # fmt: skip
    return Health(
        version=manifest.version,
        model=manifest.champion,
        stale_days=max(0, now_ms - learned_ms) / DAY_MS,
        new_interactions=len(since),
        unknown_items=float((known[since.item] < 0).mean()) if len(since) else None,
        ndcg_promised=promised,
        ndcg_since=quality,
        people=people,
    )

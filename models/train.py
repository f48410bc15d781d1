"""Train: tune and judge on the past, learn from everything, store, and say whether it may be promoted."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from models import zoo
from models.artefact import Manifest
from models.champion import challenge
from models.errors import NotEnoughData
from models.evaluation import Leaderboard, Progress, fitted, leaderboard
from models.interactions import DAY_MS, Interactions
from models.protocol import Model
from models.registry import Registry

CLOCKS_APART_MS: Final = 15 * 60_000
"""Later than now by more is the future: what events may be ahead of their receipt, as everywhere here."""


def train(
    interactions: Interactions,
    registry: Registry,
    now_ms: int,
    *,
    test_days: int = 30,
    progress: Progress = lambda what, done, total: None,
    default: Callable[[], list[list[Model]]] = zoo.default,
    champion: Manifest | None = None,
    judged: Interactions | None = None,
) -> Manifest:
    """Push a version as `candidate`. NotEnoughData if there is nothing to learn from.

    With a `champion` its settings stay, and learn from the new data, unless others beat them: a model
    that changes with every draw of the data would be promoted for nothing. `judged` are the same
    interactions with identity as of the cut (data.judged), to judge by.
    """
    if not len(interactions):
        raise NotEnoughData("there is nothing to learn from: no events that name a product")
    grids = zoo.fitting(default(), interactions)
    judged = interactions if judged is None else judged
    board, refusal = _judge(judged, grids, test_days, progress)
    end_ms = interactions.window[1] + 1
    chosen = {grid[0].name: _chosen(grid, board) for grid in grids}
    winner = board.best.model if board is not None else zoo.CANDIDATES[0]
    note = ""
    if board is not None:
        refusal = refusal or board.refusal(winner)
        if champion is not None:
            progress("comparing with the champion", len(grids), len(grids))
            held = challenge(judged, board, champion)
            note = held.why
            if not held.won:
                chosen |= held.models
                winner, refusal = champion.champion, held.refusal
    refusal = _of_the_future(end_ms, now_ms) or refusal
    steps = iter(range(len(grids) + 1))
    models = fitted(
        list(chosen.values()), interactions, end_ms,
        lambda name: progress(f"learning {name} from everything", next(steps), len(grids)),
    )  # fmt: skip
    data_hash = interactions.content_hash()
    stamp = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%d-%H%M%S")
    manifest = Manifest(
        version=f"{stamp}-{now_ms % 1000:03}-{data_hash[:6]}",
        champion=winner,
        trained_ms=now_ms,
        window_ms=interactions.window,
        interactions=len(interactions),
        people=len(interactions.users),
        items=len(interactions.items),
        data_hash=data_hash,
        parameters={},
        leaderboard=board,
        refusal=refusal,
        note=note,
    )
    return registry.push(manifest, [str(item) for item in interactions.items], models)


def _of_the_future(end_ms: int, now_ms: int) -> str:
    """Why a window that ends there must not be promoted now; empty if it may."""
    if end_ms <= now_ms + CLOCKS_APART_MS:
        return ""
    return (
        f"its training window ends {(end_ms - now_ms) / DAY_MS:.1f} days in the future: correct the "
        "times of the events, or the clock of this machine"
    )


def _chosen(grid: list[Model], board: Leaderboard | None) -> Model:
    if board is None:
        return grid[0]
    parameters = board.row(grid[0].name).parameters
    return next((model for model in grid if dict(model.parameters()) == parameters), grid[0])


def _judge(
    interactions: Interactions, grids: list[list[Model]], test_days: int, progress: Progress
) -> tuple[Leaderboard | None, str]:
    """The leaderboard, or why there is none."""
    try:
        return leaderboard(interactions, grids, test_days=test_days, progress=progress), ""
    except NotEnoughData as error:
        return None, f"not evaluated: {error}"

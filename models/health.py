"""What was last found of the champion's health, kept beside the registry's aliases for whoever shows it."""

from pathlib import Path
from typing import Final

import msgspec

from models.artefact import replace_file

KEPT: Final = "health.json"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How a champion does with what happened since it learned. None: too little has happened to say."""

    version: str
    model: str
    stale_days: float
    """Since the newest interaction that it learned from."""
    new_interactions: int
    unknown_items: float | None
    """Share of what was taken since that it cannot recommend, for it was not there."""
    ndcg_promised: float | None
    """On new items, by the leaderboard it was promoted with."""
    ndcg_since: float | None
    """On new items, by what people took since: far below what was promised is drift."""
    people: int
    """By whom that is judged."""


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """A champion's health at a time."""

    at_ms: int
    health: Health


def keep(folder: Path, looked: Looked) -> None:
    """Keep it in a registry's folder, as a whole."""
    replace_file(folder / KEPT, msgspec.json.encode(looked))


def kept(folder: Path) -> Looked | None:
    """What was kept last; None if nothing was, or it cannot be read."""
    try:
        return msgspec.json.decode((folder / KEPT).read_bytes(), type=Looked)
    except (OSError, msgspec.MsgspecError):
        return None

"""The champion's staleness and drift as metrics: what it says of itself, and how it was last found to do."""

from contextlib import suppress

from models.artefact import Manifest
from models.champion import health
from models.errors import ModelError
from models.health import Looked, keep, kept
from models.interactions import Interactions
from models.registry import CHAMPION, Registry
from service.metrics import ChampionMetrics, Standing


class ChampionStanding:
    """Tells metrics of the champion whenever they are asked for; artefacts are read when it changes only."""

    def __init__(self, registry: Registry, metrics: ChampionMetrics) -> None:
        self._registry, self._metrics = registry, metrics
        self._stamp: tuple[int, int] | None = None
        self._manifest: Manifest | None = None

    def tell(self) -> None:
        """Set the metrics, or none where there is no champion."""
        stamp = self._registry.alias_stamp(CHAMPION)
        if stamp != self._stamp:
            try:
                self._manifest = self._registry.manifest(CHAMPION)
            except ModelError:
                self._manifest = None
            self._stamp = stamp
        self._metrics.tell(_standing(self._manifest, kept(self._registry.folder)))

    def look(self, interactions: Interactions, now_ms: int) -> None:
        """Find out how the champion does, for all processes that show it; nothing without a champion."""
        with suppress(ModelError, OSError):  # without it training goes on all the same
            found = health(self._registry.load(CHAMPION), interactions, now_ms)
            keep(self._registry.folder, Looked(at_ms=now_ms, health=found))


def _standing(manifest: Manifest | None, looked: Looked | None) -> Standing | None:
    if manifest is None:
        return None
    if looked is None or looked.health.version != manifest.version:
        board = manifest.leaderboard
        promised = [row for row in board.rows if row.model == manifest.champion] if board else []
        return Standing(
            model=manifest.champion,
            trained_ms=manifest.trained_ms,
            newest_ms=manifest.window_ms[1],
            ndcg_promised=promised[0].scores["novel"].ndcg if promised else None,
        )
    found = looked.health
    return Standing(
        model=manifest.champion,
        trained_ms=manifest.trained_ms,
        newest_ms=manifest.window_ms[1],
        looked_ms=looked.at_ms,
        new_interactions=found.new_interactions,
        unknown_items=found.unknown_items,
        ndcg_promised=found.ndcg_promised,
        ndcg_since=found.ndcg_since,
    )

"""Staleness and drift of the champion, as Prometheus scrapes them."""

from pathlib import Path

import numpy as np

from models.artefact import Manifest
from models.registry import Registry
from models.zoo.counting import Popular
from service.metrics import Metrics
from service.standing import ChampionStanding
from tests.models.shops import NOW, shop
from tests.service.test_metrics import samples


def champion(registry: Registry, version: str, newest_ms: int) -> None:
    items = [str(item) for item in shop(60).items]
    scores = np.arange(len(items), dtype=np.float32)
    manifest = Manifest(
        version=version, champion="popular", trained_ms=newest_ms + 1000, window_ms=(0, newest_ms),
        interactions=1, people=1, items=len(items), data_hash="", parameters={},
    )  # fmt: skip
    registry.push(manifest, items, {"popular": Popular.restore({}, {"scores": scores})})
    registry.promote(version, force="a test")


def test_metrics_tell_how_stale_the_champion_is_and_how_it_does(tmp_path: Path) -> None:
    registry, metrics = Registry(tmp_path), Metrics()
    standing = ChampionStanding(registry, metrics.champion)
    metrics.asked.append(standing.tell)
    standing.look(shop(60), NOW)
    assert "onefold_champion_trained_timestamp_seconds{" not in metrics.text().decode()

    data = shop(60)
    cut_ms = int(np.median(data.time_ms))
    champion(registry, "v1", cut_ms)
    known = samples(metrics.text().decode())
    assert known['onefold_champion_newest_event_timestamp_seconds{model="popular"}'] == (
        cut_ms / 1000
    )
    assert 'onefold_champion_ndcg_since{model="popular"}' not in known

    standing.look(data, NOW)
    another = Metrics()
    ChampionStanding(registry, another.champion).tell()  # what one process found, all show
    for each in (metrics, another):
        known = samples(each.text().decode())
        assert known['onefold_champion_health_timestamp_seconds{model="popular"}'] == NOW / 1000
        assert known['onefold_champion_new_interactions{model="popular"}'] == (
            (data.time_ms > cut_ms).sum()
        )
        assert known['onefold_champion_unknown_items_share{model="popular"}'] == 0
        assert 0 <= known['onefold_champion_ndcg_since{model="popular"}'] <= 1

    champion(registry, "v2", NOW)
    known = samples(metrics.text().decode())
    assert known['onefold_champion_newest_event_timestamp_seconds{model="popular"}'] == NOW / 1000
    assert 'onefold_champion_new_interactions{model="popular"}' not in known

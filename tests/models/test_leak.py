"""Identity as of the cut: what a login after it would tell an evaluation about the visits before it."""

from pathlib import Path
from typing import Any

import numpy as np

from models import data
from models.cases import cases_of
from models.judging import Ground, judge
from models.zoo.personal import RecentlyViewed
from tests.workspace import DAY, NOON, Workspace

CUT = NOON - 30 * DAY


def at(ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def visitor(n: int) -> list[dict[str, Any]]:
    """Looks at a lamp anonymously, and days later, after the cut, logs in on the same browser and buys it."""
    item, browser, user = f"lamp-{n % 7}", f"b{n}", f"u{n}"
    return [
        {"type": "track", "event": "Order Completed", "userId": user, "messageId": f"0-{n}",
         "properties": {"order_id": f"o0-{n}", "products": [{"product_id": "rug", "price": 1}]},
         "timestamp": at(CUT - 9 * DAY)},
        {"type": "track", "event": "Product Viewed", "anonymousId": browser, "messageId": f"1-{n}",
         "properties": {"product_id": item}, "timestamp": at(CUT - DAY)},
        {"type": "identify", "anonymousId": browser, "userId": user, "messageId": f"2-{n}",
         "timestamp": at(CUT + DAY), "receivedAt": at(CUT + DAY)},
        {"type": "track", "event": "Order Completed", "userId": user, "messageId": f"3-{n}",
         "properties": {"order_id": f"o1-{n}", "products": [{"product_id": item, "price": 1}]},
         "timestamp": at(CUT + DAY)},
    ]  # fmt: skip


def test_logins_after_the_cut_do_not_tell_whose_earlier_visits_were(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.take([event for n in range(25) for event in visitor(n)])

    def hits(cut_ms: int | None) -> float:
        interactions = data.interactions(workspace.store, workspace.rules, cut_ms=cut_ms)
        cases, _ = cases_of(interactions, CUT, NOON)
        assert len(cases) == 25
        model = RecentlyViewed().fit(interactions, CUT)
        return float(np.nanmean(judge(model, cases, Ground(len(interactions.items))).hit["novel"]))

    assert hits(None) == 1, "today's identity hands each buyer the visit that led to the purchase"
    assert hits(CUT) == 0, "then nobody could know whose visits they were"

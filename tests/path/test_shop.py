"""A back end and a merchandiser: recommendations by the client, rules, and what they brought."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from models.registry import Registry
from models.train import train
from onefold_client import Onefold, OnefoldError, row
from service.commands.models import load_interactions
from service.commands.serve import Running
from service.workspace import Workspace
from tests.path.conftest import Run
from tests.service.test_served_models import small
from tests.workspace import DAY

NOW = 1_790_000_000_000
ITEMS = """id,name,category,price,brand,in_stock
soap,Soap,Care,40,Lux,yes
cream,Cream,Care/Skin,300,Lux,yes
comb,Comb,Carelessness,20,Ace,no
vitamin,Vitamin,Health,500,Ace,yes
kit,Test kit,Health,900,Ace,yes
"""


def orders() -> str:
    """Eight people who buy soap with cream, and vitamins with test kits."""
    pairs = [("soap", "cream"), ("vitamin", "kit")]
    events = [
        {
            "type": "track", "event": "Order Completed", "userId": f"u{n}", "timestamp": NOW - n * DAY,
            "properties": {"order_id": f"o{n}", "products": [
                {"product_id": item} for item in (*pairs[n % 2], "comb")
            ]},
        }
        for n in range(8)
    ]  # fmt: skip
    return "\n".join(map(json.dumps, events))


@pytest.fixture
def shop(
    tmp_path: Path, onefold: Run, served: tuple[Workspace, Running]
) -> tuple[Onefold, Registry]:
    """A served shop with a champion, and a client."""
    workspace, running = served
    file = tmp_path / "items.csv"
    file.write_text(ITEMS)
    onefold("catalog", "import", str(file))
    onefold("ingest", "-", text=orders())
    made = train(load_interactions(workspace), workspace.registry, NOW, default=small)
    workspace.registry.promote(made.version, force="a test")
    client = Onefold(f"127.0.0.1:{running.rpc.port}", timeout_s=10)
    return client, workspace.registry


def test_a_back_end_asks_in_one_line(shop: tuple[Onefold, Registry]) -> None:
    client, registry = shop
    with client:
        answer = client.recommend(
            user_id="u0", anonymous_id=None, filter="price < 500 AND in_stock", exclude_bought=True
        )
        nobody = client.recommend(user_id="ghost", limit=2, diversity=0.3, per_category=1)
        first, second = client.recommend_page(
            [row("BUY_AGAIN", limit=2), row("TRENDING", filter="brand = 'Lux'", relaxed=True)],
            user_id="u0",
        )
        with pytest.raises(OnefoldError) as caught:
            client.recommend(filter="prize < 500")
        with pytest.raises(ValueError, match="'HOME' is no surface; there are FOR_YOU"):
            client.recommend("HOME")

    assert {item.id for item in answer.items} <= {"soap", "cream"}
    assert (answer.version, answer.profile_id != "") == (registry.resolve("champion"), True)
    assert answer.trained_at is not None
    assert answer.newest_event is not None
    assert nobody.fallback == "no history"
    assert len(nobody.items) == 2
    shown = [item.id for item in (*first.items, *second.items)]
    assert len(shown) == len(set(shown)) == 5
    assert second.relaxed == ["brand = 'Lux'"]
    error = caught.value
    assert (error.code, list(error.fields)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        ["filter_expression"],
    )
    assert "did you mean price?" in str(error)


def test_without_a_server_the_error_is_of_the_same_kind() -> None:
    with Onefold("127.0.0.1:1", timeout_s=0.3) as client, pytest.raises(OnefoldError) as caught:
        client.recommend()
    assert caught.value.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def test_a_report_says_what_was_seen_clicked_and_bought(
    shop: tuple[Onefold, Registry], onefold: Run, as_json: Callable[..., Any]
) -> None:
    client, _ = shop
    assert "send the one of each reply along" in onefold("models", "report").stdout
    with client:
        seen, unseen = client.recommend("TRENDING"), client.recommend("TRENDING")
    item = seen.items[0].id
    bought = {"product_id": item, "price": 40, "quantity": 2, "attribution_token": seen.token}
    events = [
        ("Recommendation Shown", {"attribution_token": seen.token}),
        ("Recommendation Shown", {"attribution_token": unseen.token}),
        ("Product Clicked", {"product_id": item, "attribution_token": seen.token}),
        ("Product Clicked", {"product_id": item, "attribution_token": "x" + seen.token}),
        ("Order Completed", {"order_id": "new", "currency": "INR", "products": [bought]}),
    ]
    told = [{"type": "track", "userId": "u0", "event": name, "properties": p} for name, p in events]
    onefold("ingest", "-", text="\n".join(map(json.dumps, told)))

    found = as_json("models", "report")
    (line,) = found["lines"]
    assert (line["surface"], line["model"], line["version"]) == ("TRENDING", seen.model, "")
    assert (line["shown"], line["clicked"], line["orders"]) == (2, 1, 1)
    assert (line["ctr"], line["revenue"], found["forged"]) == (0.5, {"INR": 80.0}, 1)
    shown = onefold("models", "report", "--by-version").stdout
    assert "50.0%" in shown
    assert "1 tokens are not of this workspace" in shown


def test_rules_are_checked_and_shown(
    tmp_path: Path, shop: tuple[Onefold, Registry], onefold: Run, as_json: Callable[..., Any]
) -> None:
    client, _ = shop
    assert "no rules in" in onefold("models", "rules").stdout
    folder = tmp_path / "data" / "merchandising"
    folder.mkdir()
    (folder / "shop.yaml").write_text(
        "- {name: recalled, hide: [soap]}\n"
        "- {name: lux, promote: all, where: brand = 'Lux', from: 2020-01-01}\n"
        "- {name: soon, pin: [kit], from: 2100-01-01}\n"
    )
    rules = as_json("models", "rules")["rules"]
    assert [(each["name"], each["items"], each["in_force"]) for each in rules] == [
        ("recalled", 1, "yes"), ("lux", 2, "yes"), ("soon", 1, "no"),
    ]  # fmt: skip
    assert "promote" in onefold("models", "rules").stdout
    found = as_json("recommend", "--surface", "TRENDING", "--filter", "price < 5000", "--relaxed")
    assert "soap" not in {item["id"] for item in found["items"]}
    with client:
        assert "soap" not in {item.id for item in client.recommend("TRENDING").items}
    (folder / "shop.yaml").write_text("- {name: x, hide: all, where: bradn = 'Lux'}")
    assert "x: where: at character 1: no item has a field 'bradn'" in onefold(
        "models", "rules", ok=False
    ).stderr  # fmt: skip
    (folder / "shop.yaml").write_text("- {name: x}")
    assert "shop.yaml:1: a rule has one of" in onefold("models", "rules", ok=False).stderr
    (folder / "shop.yaml").unlink()
    for text, says in (("price <", "at character 8"), ("prize < 5", "did you mean price?")):
        done = onefold("recommend", "--filter", text, ok=False)
        assert "--filter: at character" in done.stderr
        assert says in done.stderr

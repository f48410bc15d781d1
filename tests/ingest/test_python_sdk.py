"""The real rudder-sdk-python against the real collector."""

import json
from typing import Any

import pytest
from rudderstack.analytics.client import Client as Sdk

from ingest.collector import Collector
from storage.errors import StoreUnavailable
from tests.ingest.http_client import KEYS, NOW, Client, Recording, serving


def sdk(client: Client, key: str = "backend-key", **options: Any) -> Sdk:
    return Sdk(
        key, host=f"http://127.0.0.1:{client.port}", upload_interval=0.05, max_retries=3, **options
    )


def finish(sender: Sdk) -> None:
    sender.flush()
    sender.join()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_back_end_identifies_tracks_and_aliases(
    client: Client, taken: Recording, zipped: bool
) -> None:
    sender = sdk(client, gzip=zipped)
    sender.identify("asha", {"email": "Asha@Example.com"}, anonymous_id="b1")
    sender.track("asha", "Product Viewed", {"product_id": "aspirin", "price": 9.5})
    sender.alias("b1", "asha")
    finish(sender)
    identify, track, alias = taken.events
    assert (identify.type, identify.user_id, identify.anonymous_id) == ("identify", "asha", "b1")
    assert identify.traits == {"email": "Asha@Example.com"}
    assert (track.name, track.properties["product_id"]) == ("Product Viewed", "aspirin")
    assert (alias.type, alias.user_id, alias.previous_id) == ("alias", "asha", "b1")
    assert {event.source for event in taken.events} == {"backend"}
    # The SDK states its own clock as `timestamp`: neither corrected nor later than the receipt.
    stated = json.loads(track.raw)["timestamp"]
    assert stated.endswith("+00:00")
    assert all(event.key_ms > NOW for event in taken.events)


def test_a_batch_that_is_refused_is_not_sent_again(client: Client, taken: Recording) -> None:
    failed: list[Exception] = []
    sender = sdk(client, on_error=lambda error, batch: failed.append(error))
    sender.track("asha", "   ")
    finish(sender)
    assert taken.calls == 1
    assert [letter.reason for letter in taken.refused] == ["no_event_name"]
    assert len(failed) == 1


def test_a_wrong_key_is_not_tried_again() -> None:
    taken, failed = Recording(), []
    with serving(Collector(KEYS, taken, lambda: NOW)) as client:
        sender = sdk(client, "wrong", on_error=lambda error, batch: failed.append(error))
        sender.track("asha", "Product Viewed")
        finish(sender)
    assert len(failed) == 1
    assert "invalid write key" in str(failed[0])


def test_what_the_store_could_not_take_comes_again(client: Client, taken: Recording) -> None:
    taken.failures = [StoreUnavailable("disk full")] * 2
    sender = sdk(client)
    sender.track("asha", "Product Viewed")
    finish(sender)
    assert taken.calls == 3
    assert taken.names == ["Product Viewed"]

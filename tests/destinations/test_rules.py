"""Small rules that destinations share: consent strings, schedules, masks, ids seen before, equal bytes."""

from __future__ import annotations

import gzip
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from destinations.masking import masked
from destinations.schedule import DAY_MS, MINUTE_MS, RETRY_MS, due_ms, wants_full
from destinations.seen import Seen
from destinations.settings import Schedule
from destinations.staged import CHUNK_BYTES, SplitLines
from destinations.tcf import allows
from tests.destinations.people import person
from tests.workspace import NOON

HOUR_MS = 60 * MINUTE_MS
MIDNIGHT = NOON // DAY_MS * DAY_MS


@pytest.mark.parametrize(
    ("text", "vendor", "purposes", "allowed"),
    [
        # Made by hand, and read by the library iab-tcf as here.
        (
            "CO5rKAAO5rKAAAKAKBANBkCAAKvAAAAAAAAAAviAAAAAAAAAAAAAAAgAAAAA",
            95,
            (1, 3, 5, 7, 8, 9, 10),
            True,
        ),
        ("CO5rKAAO5rKAAAKAKBANBkCAAKvAAAAAAAAAAviAAAAAAAAAAAAAAAgAAAAA", 95, (2,), False),
        ("CO5rKAAO5rKAAAKAKBANBkCAAKvAAAAAAAAAAviAAAAAAAAAAAAAAAgAAAAA", 94, (1,), False),
        ("CO5rKAAO5rKAAAKAKBANBkCAAIAAAAAAAAAABkQAoAtADGAMgAAAAAA", 95, (1,), True),
        ("CO5rKAAO5rKAAAKAKBANBkCAAIAAAAAAAAAABkQAoAtADGAMgAAAAAA", 200, (1,), True),
        ("CO5rKAAO5rKAAAKAKBANBkCAAIAAAAAAAAAABkQAoAtADGAMgAAAAAA", 100, (1,), False),
        ("CO5rKAAO5rKAAAKAKBANBkCAAIAAAAAAAAAABkQAQBkAAAAA", 95, (1,), False),
        ("CPBCa-mPBCa-mAAAAAENA0CAAEAAAAAAACiQAaQAwAAgAgABoAAAAAA", 52, (2,), True),
        ("CPBCa-mPBCa-mAAAAAENA0CAAEAAAAAAACiQAaQAwAAgAgABoAAAAAA.YAAA", 32, (2,), True),
        ("CPBCa-mPBCa-mAAAAAENA0CAAEAAAAAAACiQ", 1, (2,), False),
        ("BOEFEAyOEFEAyAHABDENAI4AAAB9vABAASA", 95, (), False),
        ("", 95, (), False),
        ("not base64 at all!", 95, (), False),
        ("ünï", 95, (), False),
    ],
)
def test_a_consent_string_allows_what_it_says_and_rubbish_allows_nothing(
    text: str, vendor: int, purposes: tuple[int, ...], allowed: bool
) -> None:
    assert allows(text, vendor, purposes) is allowed


@given(st.text(max_size=80))
def test_any_text_is_read(text: str) -> None:
    allows(text, 95, (1,))


@pytest.mark.parametrize(
    ("schedule", "delivered", "failed", "due"),
    [
        (Schedule(), None, None, None),
        (Schedule(every="6h"), None, None, NOON),
        (Schedule(every="6h"), NOON - HOUR_MS, None, NOON + 5 * HOUR_MS),
        (Schedule(every="6h"), NOON - 20 * HOUR_MS, None, NOON - 14 * HOUR_MS),
        (Schedule(every="6h"), NOON - 20 * HOUR_MS, NOON, NOON + RETRY_MS),
        (Schedule(every="1m"), NOON - HOUR_MS, NOON, NOON + MINUTE_MS),
        (Schedule(at="02:00"), None, None, MIDNIGHT + 2 * HOUR_MS),
        (Schedule(at="02:00"), MIDNIGHT - DAY_MS, None, MIDNIGHT + 2 * HOUR_MS),
        (Schedule(at="02:00"), MIDNIGHT + 2 * HOUR_MS, None, MIDNIGHT + DAY_MS + 2 * HOUR_MS),
        (Schedule(at="23:00"), NOON - HOUR_MS, None, MIDNIGHT + 23 * HOUR_MS),
        (Schedule(at="02:00"), MIDNIGHT - DAY_MS, NOON, NOON + RETRY_MS),
    ],
)
def test_the_next_export_is_due(
    schedule: Schedule, delivered: int | None, failed: int | None, due: int | None
) -> None:
    assert due_ms(schedule, delivered, failed, NOON) == due


def test_everything_is_sent_again_after_a_while() -> None:
    assert wants_full("30d", None, NOON)
    assert not wants_full("30d", NOON - 29 * DAY_MS, NOON)
    assert wants_full("30d", NOON - 30 * DAY_MS, NOON)


@given(st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=8), max_size=12))
def test_what_was_seen_before_is_known(batches: list[list[str]]) -> None:
    seen, known = Seen(), set[str]()
    for batch in batches:
        expected = []
        for number, text in enumerate(batch):
            if text in known:
                expected.append(number)
            known.add(text)
        assert seen.again(batch) == expected


def test_many_are_seen_once() -> None:
    seen = Seen()
    for start in range(0, 100_000, 1_000):
        assert seen.again([str(start + n) for n in range(1_000)]) == []
    assert seen.again(["99999", "100000", "0"]) == [0, 2]


def test_a_mask_leaves_nothing_to_find_anybody_by() -> None:
    asha = person("asha", traits={"city": "Pune", "age": 41})
    row = {
        "userId": "asha", "context": {"ids": ["asha@example.com", asha.profile_id.hex()], "n": 41},
        "hash": "9f" * 32, "type": "track", "member": True, "traits": {"city": "Pune"},
    }  # fmt: skip
    assert masked(row, [asha]) == {
        "userId": "as…", "context": {"ids": ["as…", f"{asha.profile_id.hex()[:2]}…"], "n": "…"}, "hash": "9f…",
        "type": "track", "member": True, "traits": {"city": "Pu…"},
    }  # fmt: skip


@settings(max_examples=30)
@given(st.lists(st.integers(1, 60_000), max_size=30), st.booleans())
def test_files_are_equal_bytes_however_lines_come(lengths: list[int], compress: bool) -> None:
    lines = [bytes([65 + n % 26]) * length + b"\n" for n, length in enumerate(lengths)]
    chance = random.Random(len(lengths))
    written = []
    with tempfile.TemporaryDirectory() as text:
        for attempt in range(2):
            folder = Path(text, str(attempt))
            folder.mkdir()
            out = SplitLines(folder, "x", compress=compress, bytes_max=2 * CHUNK_BYTES + 2_000)
            at = 0
            while at < len(lines):
                step = chance.randint(1, 5)
                out.add(b"".join(lines[at : at + step]))
                at += step
            written.append([each.path.read_bytes() for each in out.finish()])
    assert written[0] == written[1]
    whole = [gzip.decompress(each) if compress else each for each in written[0]]
    assert b"".join(whole) == b"".join(lines)
    assert all(len(each) <= 2 * CHUNK_BYTES + 2_000 for each in written[0])

"""Lotame's files: what the independent reader takes, whatever happens while they are written."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pickle
import resource
import signal
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from destinations.audience import MemoryAudience, Recipient
from destinations.destination import Run
from destinations.errors import ExportRefused, TargetUnavailable
from destinations.folders import LocalFolder
from destinations.gate import Gate, Tally, Withheld
from destinations.lotame import Lotame
from destinations.rendering import Rendering, updates_of
from destinations.settings import LotameSettings
from destinations.staged import CHUNK_BYTES
from identity.nodes import Identifier
from tests.destinations.lotame_reader import Unreadable, day_is_complete, memberships, read_day
from tests.destinations.people import (
    ADS,
    SEGMENTS,
    TODAY,
    Desk,
    crowd,
    permission,
    person,
    some_people,
    uuid_of,
)
from tests.workspace import DAY, NOON

GAID = "cdda802e-fb9c-47ad-9866-0794d394c912"
IDFA = "EA7583CD-A667-48BC-B806-42ECB2B48606"
TCF_95 = "CO5rKAAO5rKAAAKAKBANBkCAAKvAAAAAAAAAAviAAAAAAAAAAAAAAAgAAAAA"
"""Vendor 95 and purposes 1, 3, 5, 7-10, made by hand; the library iab-tcf reads it so, too."""
TCF_OTHER = "CO5rKAAO5rKAAAKAKBANBkCAAIAAAAAAAAAABkQAQBkAAAAA"


def desk_of(folder: Path, audience: MemoryAudience | None = None, **settings: Any) -> Desk:
    out = LocalFolder(folder / "out")
    made = Lotame(LotameSettings(**settings), out)
    return Desk(folder, audience or some_people(), made)


@pytest.fixture
def day(tmp_path: Path) -> Path:
    return tmp_path / "out" / TODAY


def test_a_row_is_as_lotame_describes_it(tmp_path: Path, day: Path) -> None:
    desk_of(tmp_path).export()
    row = next(row for row in read_day(day) if row["userid"] == uuid_of("asha"))
    assert row == {
        "userid": uuid_of("asha"), "idtype": "TPID", "consent": True,
        "segments": [{"name": "regulars", "timestamp": (NOON - DAY) // 1000}],
    }  # fmt: skip


def test_segments_may_be_texts_and_go_by_their_alias(tmp_path: Path, day: Path) -> None:
    desk_of(tmp_path, segment_form="strings").export(
        allowed=permission("regulars", "lapsed", aliases={"lapsed": "r17"})
    )
    row = next(row for row in read_day(day) if row["userid"] == uuid_of("ravi"))
    assert row["segments"] == ["r17", "regulars"]


@pytest.mark.parametrize(
    ("value", "platforms", "idtype"),
    [
        (GAID, {}, "GAID"),
        (IDFA, {}, "IDFA"),
        (GAID, {GAID: "ios"}, "IDFA"),
        (IDFA, {IDFA: "Android"}, "GAID"),
        ("12345678-1234-1234-1234-123456789012", {}, None),
        ("00000000-0000-0000-0000-000000000000", {}, None),
        (
            "00000000-0000-0000-0000-000000000000",
            {"00000000-0000-0000-0000-000000000000": "ios"},
            None,
        ),
        ("cDDA802e-fb9c", {}, None),
        ("with space", {}, None),
        ("", {}, None),
    ],
)
def test_an_advertising_id_goes_by_its_platform_or_its_letters(
    tmp_path: Path, day: Path, value: str, platforms: dict[str, str], idtype: str | None
) -> None:
    audience = MemoryAudience(SEGMENTS)
    ids = (Identifier("advertising_id", value),)
    audience.put(person("asha", "regulars", identifiers=ids, platforms=platforms))
    done = desk_of(tmp_path, audience).export().delivery
    assert [row["idtype"] for row in read_day(day)] == ([idtype] if idtype else [])
    assert done.withheld == ({} if idtype else {"no_identifier": 1})


def test_types_of_ids_are_configured(tmp_path: Path, day: Path) -> None:
    audience = MemoryAudience(SEGMENTS)
    ids = (
        Identifier("anonymous_id", "a1"),
        Identifier("tv_id", "t1"),
        Identifier("panorama_id", "p1"),
    )
    audience.put(person("asha", "regulars", identifiers=ids))
    desk_of(tmp_path, audience, id_types={"anonymous_id": "none", "tv_id": "TVOS"}).export()
    assert memberships(read_day(day)).keys() == {("TVOS", "t1"), ("PANO", "p1")}


def test_a_tcf_string_goes_along_where_it_allows_lotame(tmp_path: Path, day: Path) -> None:
    audience = MemoryAudience(SEGMENTS)
    audience.put(person("asha", "regulars", traits={"tcf": TCF_95}))
    audience.put(person("ravi", "regulars", traits={"tcf": TCF_OTHER}))
    audience.put(person("om", "regulars", traits={"tcf": "rubbish"}))
    audience.put(person("meera", "regulars"))
    done = desk_of(tmp_path, audience, consent="tcf").export().delivery
    assert {row["tcfconsent"] for row in read_day(day)} == {TCF_95}
    assert done.withheld == {"consent_refused": 2, "no_consent": 1}


def test_an_id_is_in_a_file_once(tmp_path: Path, day: Path) -> None:
    audience = MemoryAudience(SEGMENTS)
    shared = (Identifier("anonymous_id", "b1"),)
    for name in ("asha", "ravi"):
        audience.put(person(name, "regulars", identifiers=shared))
    done = desk_of(tmp_path, audience).export().delivery
    assert len(read_day(day)) == 1
    assert done.withheld == {"identifier_sent_before": 1}


def test_what_left_is_in_a_delta_as_removed(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    allowed = permission("regulars", "lapsed")
    desk.export("delta", allowed=allowed)
    desk.audience.put(person("ravi", "lapsed"), NOON + 1)
    desk.now_ms += DAY
    done = desk.export("delta", allowed=allowed).delivery
    rows = read_day(tmp_path / "out" / "20260922")
    assert {row["userid"] for row in rows} == {uuid_of("ravi"), uuid_of("ravi-phone")}
    assert all(row["remove"] == [{"name": "regulars"}] for row in rows)
    assert {each["name"] for row in rows for each in row["segments"]} == {"lapsed"}
    assert (done.mode, done.people) == ("delta", 1)


def test_a_merge_in_a_delta_takes_nothing_from_who_is_still_in(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    desk.export("delta")
    both = person("asha", "regulars")
    desk.audience.lose(person("ravi").profile_id, both.profile_id, NOON + 1)
    desk.audience.put(
        person("asha", "regulars", identifiers=both.identifiers + person("ravi").identifiers),
        NOON + 1,
    )
    desk.now_ms += DAY
    desk.export("delta")
    rows = read_day(tmp_path / "out" / "20260922")
    assert memberships(rows)["TPID", uuid_of("ravi")] == {"regulars"}
    assert all("remove" not in row for row in rows)


def test_a_second_set_of_files_on_one_day_is_refused_and_nothing_is_lost(
    tmp_path: Path, day: Path
) -> None:
    desk = desk_of(tmp_path)
    desk.export("delta")
    held = desk.deliveries.positions("x")
    desk.audience.put(person("zoya", "regulars"), NOON + 1)
    desk.now_ms += 1
    with pytest.raises(ExportRefused, match="one set of files a day"):
        desk.export("delta")
    assert desk.deliveries.positions("x") == held
    assert desk.runs()[0][1] == "refused"
    desk.now_ms += DAY
    desk.export("delta")
    assert ("TPID", uuid_of("zoya")) in memberships(read_day(tmp_path / "out" / "20260922"))
    assert ("TPID", uuid_of("zoya")) not in memberships(read_day(day))


def test_some_of_the_segments_are_no_full_file(tmp_path: Path, day: Path) -> None:
    desk = desk_of(tmp_path)
    allowed = permission("regulars", "lapsed")
    assert desk.export(allowed=allowed, asked=("lapsed",), dry=True).delivery.people == 1
    with pytest.raises(ExportRefused, match="every segment of an id"):
        desk.export(allowed=allowed, asked=("lapsed",))
    assert not day.exists()


def test_big_files_are_split_and_what_a_former_try_left_is_removed(
    tmp_path: Path, day: Path
) -> None:
    day.mkdir(parents=True)
    (day / "segmentmembership.009.json.gz").write_bytes(b"left behind")
    (day / "segmentmembership.009.json.gz.md5").write_bytes(b"left behind")
    count = 3 * CHUNK_BYTES // 250
    limit = 200_000
    done = desk_of(tmp_path, crowd(count), file_bytes_max=limit).export().delivery
    rows = read_day(day)
    files = sorted(day.glob("*.gz"))
    assert len(files) >= 3
    assert all(file.stat().st_size <= limit for file in files)
    assert len(rows) == done.rows == 2 * count
    assert done.files[0] == f"{TODAY}/segmentmembership.001.json.gz"


def test_a_replaced_full_set_is_whole_again(tmp_path: Path, day: Path) -> None:
    desk = desk_of(tmp_path, replace=True)
    desk.export()
    desk.audience.put(person("zoya", "regulars"), NOON + 1)
    desk.export()
    assert ("TPID", uuid_of("zoya")) in memberships(read_day(day))


def test_nobody_is_an_empty_file_that_is_complete(tmp_path: Path, day: Path) -> None:
    desk_of(tmp_path, MemoryAudience(SEGMENTS)).export()
    assert read_day(day) == []


# --- what is cut off ------------------------------------------------------------------------------


class Killing(LocalFolder):
    """A folder whose process is killed with -9 right before its n-th change."""

    def __init__(self, root: Path, steps: int) -> None:
        super().__init__(root)
        self.steps = steps

    def _step(self) -> None:
        if not self.steps:
            os.kill(os.getpid(), signal.SIGKILL)
        self.steps -= 1

    def put(self, file: Path, name: str) -> None:
        self._step()
        super().put(file, name)

    def touch(self, name: str) -> None:
        self._step()
        super().touch(name)

    def remove(self, name: str) -> None:
        self._step()
        super().remove(name)


class KilledWhileRead(MemoryAudience):
    """An audience in whose second batch the process is killed."""

    def members(
        self, segments: Collection[str], purposes: Collection[str] = ()
    ) -> Iterator[list[Recipient]]:
        for number, batch in enumerate(super().members(segments, purposes)):
            if number:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch


def in_a_child(work: Callable[[], None]) -> int:
    """The signal that ended a child that worked; 0 if it ended by itself."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_kill_at_any_step_never_leaves_a_day_that_looks_complete_and_is_not(
    tmp_path: Path,
) -> None:
    ends = []
    for steps in range(20):
        folder = tmp_path / str(steps)
        folder.mkdir()
        day = folder / "out" / TODAY
        old = desk_of(folder)
        old.export()
        before = read_day(day)
        # A part of a former try that was longer, which is to be removed.
        (day / "segmentmembership.002.json.gz").write_bytes(b"left behind")
        old.close()

        def work(folder: Path = folder, steps: int = steps) -> None:
            settings = LotameSettings(replace=True)
            desk = Desk(folder, crowd(40), Lotame(settings, Killing(folder / "out", steps)))
            desk.export()

        ends.append(in_a_child(work))
        if steps and day_is_complete(day):
            rows = read_day(day)
            assert len(rows) == 80
        elif not steps:
            (day / "segmentmembership.002.json.gz").unlink()
            assert read_day(day) == before
        if not ends[-1]:
            break
    assert ends == [-signal.SIGKILL] * (len(ends) - 1) + [0]
    assert len(ends) == 6


def test_a_kill_while_members_are_read_leaves_nothing_and_the_next_run_is_whole(
    tmp_path: Path, day: Path
) -> None:
    def work() -> None:
        audience = KilledWhileRead(SEGMENTS, batch=5)
        for number in range(20):
            audience.put(person(f"p{number}", "regulars"))
        desk_of(tmp_path, audience).export()

    assert in_a_child(work) == -signal.SIGKILL
    assert not day.exists()
    desk = desk_of(tmp_path, crowd(20))
    assert [(each.result, each.ended_ms) for each in desk.deliveries.list(9)] == [("begun", None)]
    desk.export()
    assert len(read_day(day)) == 40


@pytest.mark.parametrize("room", [300_000, 2_000_000], ids=["while staging", "while copying"])
def test_a_full_disk_is_said_and_leaves_nothing_that_looks_complete(
    tmp_path: Path, day: Path, room: int
) -> None:
    said = tmp_path / "said"
    audience = crowd(8_000)

    class Fuller(LocalFolder):
        """The limit falls when the copy begins."""

        def put(self, file: Path, name: str) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
            super().put(file, name)

    def work() -> None:
        desk = Desk(tmp_path, audience, Lotame(LotameSettings(), Fuller(tmp_path / "out")))
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, 2_000_000))
        try:
            desk.export()
        except TargetUnavailable as error:
            said.write_text(str(error))

    assert in_a_child(work) == 0
    assert "no space left on the disk" in said.read_text()
    assert not day_is_complete(day)
    desk = Desk(tmp_path, audience, Lotame(LotameSettings(), LocalFolder(tmp_path / "out")))
    assert desk.runs() == [("full", "failed")]
    desk.export()
    assert len(read_day(day)) == 16_000


# --- the reader itself ----------------------------------------------------------------------------


def _spoil(day: Path, how: str) -> None:
    file = day / "segmentmembership.json.gz"
    rows = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    if how == "consent":
        del rows[0]["consent"]
    elif how == "milliseconds":
        rows[0]["segments"][0]["timestamp"] *= 1000
    elif how == "twice":
        rows.append(rows[0])
    elif how == "email":
        rows[0]["userid"] = "asha@example.com"
    file.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    if how != "md5":
        digest = hashlib.md5(file.read_bytes()).hexdigest()
        file.with_name(file.name + ".md5").write_text(f"{digest}  {file.name}\n")


@pytest.mark.parametrize("how", ["md5", "consent", "milliseconds", "twice", "email"])
def test_the_reader_of_these_tests_sees_what_is_wrong(tmp_path: Path, day: Path, how: str) -> None:
    desk_of(tmp_path).export()
    read_day(day)
    _spoil(day, how)
    with pytest.raises(Unreadable):
        read_day(day)


def test_purposes_are_all_needed(tmp_path: Path, day: Path) -> None:
    audience = MemoryAudience(SEGMENTS)
    audience.put(person("asha", "regulars", consent={ADS: True, "health": True}))
    audience.put(person("ravi", "regulars", consent={ADS: True}))
    audience.put(person("om", "regulars", consent={ADS: True, "health": False}))
    done = desk_of(tmp_path, audience).export(purposes=(ADS, "health")).delivery
    assert {row["userid"] for row in read_day(day)} == {uuid_of("asha"), uuid_of("asha-phone")}
    assert done.withheld == {"consent_refused": 1, "no_consent": 1}


@pytest.mark.parametrize("consent", ["flag", "tcf"])
def test_rows_that_another_process_makes_are_those_made_here(tmp_path: Path, consent: Any) -> None:
    settings = LotameSettings(consent=consent)
    here, apart = (Lotame(settings, LocalFolder(tmp_path / "out")) for _ in range(2))
    names = {"regulars": "regulars", "lapsed": 'said "so"'}
    for each in (here, apart):
        each.begin(Run(id="r", mode="full", started_ms=NOON, segments=names, dry=True))
    renderer = pickle.loads(pickle.dumps(apart.renderer()))
    advertising = Identifier("advertising_id", GAID)
    people = [
        person("asha", "regulars", traits={"tcf": TCF_95}),
        person("ravi", "regulars", "lapsed", traits={"tcf": TCF_OTHER}),
        person("meera", "lapsed", identifiers=(advertising,), traits={"tcf": TCF_95}),
        # What was in the file before, in a batch before and in this one, goes once.
        person("om", "lapsed", identifiers=(advertising, advertising), traits={"tcf": TCF_95}),
        person("mei", "regulars", identifiers=(), traits={"tcf": TCF_95}),
    ]
    rows_here, rows_apart, tally_here, tally_apart = [], [], Tally(), Tally()
    for batch in (people[:3], people[3:]):
        updates = updates_of(batch, names, Gate(()), Tally())
        rows_here += here.render(updates, tally_here)
        rendered = Rendering(Gate(()), names, renderer)(batch)
        rows_apart += apart.unique(rendered.rows, tally_apart)
        for why, count in rendered.withheld.items():
            tally_apart.withhold(Withheld(why), count)
        tally_apart.people += rendered.people
    assert rows_apart == rows_here
    assert tally_apart.withheld == tally_here.withheld
    assert tally_apart.withheld[Withheld.DUPLICATE] == 2
    assert tally_apart.people == (3 if consent == "tcf" else 4)

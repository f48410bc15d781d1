import gzip
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.event import Source
from ingest.decode import EVENT_BYTES_MAX
from ingest.errors import SourceError
from ingest.files import Batch, FoundFile, find_files, read_batches
from ingest.lines import BLOCK_BYTES, read_lines
from ingest.sources import Sources

NOW = 1_790_000_000_000


def line_of(number: int, **fields: Any) -> bytes:
    event = {"type": "page", "userId": "u", "messageId": f"m{number}", "receivedAt": NOW - number}
    return json.dumps(event | fields).encode()


def lines_of(count: int) -> bytes:
    return b"".join(line_of(number) + b"\n" for number in range(count))


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def read(path: Path | str, **options: Any) -> list[Batch]:
    return [
        batch
        for file in find_files([str(path)])
        for batch in read_batches(file, Sources(), NOW, **options)
    ]


def ids(batches: list[Batch]) -> list[str]:
    return [event.message_id for batch in batches for event in batch.events]


def reasons(batches: list[Batch]) -> list[str]:
    return [letter.reason for batch in batches for letter in batch.refused]


# --- what is found ---


def test_globs_folders_and_files_are_found_in_order_once(tmp_path: Path) -> None:
    for name in ("b/2.json.gz", "b/1.jsonl", "a/x/3.ndjson", "a/notes.txt", "a/.hidden.json"):
        write(tmp_path / name, b"")
    write(tmp_path / "folder.json" / "inside.json", b"")

    def found(*patterns: str) -> list[str]:
        files = find_files([str(tmp_path / pattern) for pattern in patterns])
        return [os.path.relpath(file.uri, tmp_path) for file in files]

    assert found("b") == ["b/1.jsonl", "b/2.json.gz"]
    assert found("**/*.json*") == ["b/1.jsonl", "b/2.json.gz", "folder.json/inside.json"]
    assert found("a") == ["a/.hidden.json", "a/x/3.ndjson"]
    assert found("b/*", "b", "b/1.jsonl") == ["b/1.jsonl", "b/2.json.gz"]
    assert found("a/notes.txt") == ["a/notes.txt"]  # who names a file means it
    assert found("folder.json") == ["folder.json/inside.json"]


def test_a_name_with_brackets_is_a_name(tmp_path: Path) -> None:
    write(tmp_path / "dump[1].json", lines_of(1))
    assert ids(read(tmp_path / "dump[1].json")) == ["m0"]


@pytest.mark.parametrize("pattern", ["missing.json", "*.json", "empty", "nowhere/**/*.gz"])
def test_what_names_no_file_is_an_error_that_names_it(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no such file") as raised:
        find_files([str(tmp_path / pattern)])
    assert str(tmp_path / pattern) in str(raised.value)


def test_a_protocol_that_is_not_known_is_an_error() -> None:
    with pytest.raises(SourceError, match="nosuch://bucket/x"):
        find_files(["nosuch://bucket/x"])


def test_object_storage_is_read_as_files_are(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/rudder-logs/src9/2026-01-02/1.src9.x.json.gz", gzip.compress(lines_of(3)))
    memory.pipe("/bucket/rudder-logs/src9/2026-01-02/notes.txt", b"x")
    memory.pipe("/bucket/odd", lines_of(1))
    for pattern in ("memory://bucket/rudder-logs/", "memory://bucket/rudder-logs/**/*.gz"):
        batches = read(pattern)
        assert ids(batches) == ["m0", "m1", "m2"]
        assert batches[0].events[0].source == "src9"
    assert ids(read("memory://bucket/odd")) == ["m0"]
    with pytest.raises(SourceError, match="memory://bucket/none"):
        find_files(["memory://bucket/none"])


def test_a_changed_file_has_another_fingerprint(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", lines_of(2))
    (before,) = find_files([str(path)])
    write(path, lines_of(3))
    (after,) = find_files([str(path)])
    assert before.uri == after.uri
    assert before.fingerprint != after.fingerprint
    assert after.size == len(lines_of(3))


# --- what is read ---


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (lines_of(3), 3),
        (lines_of(3)[:-1], 3),  # no newline at the end
        (lines_of(3).replace(b"\n", b"\r\n"), 3),
        (b"\xef\xbb\xbf" + lines_of(3), 3),
        (b"\n\n" + lines_of(2) + b"  \n\t\n" + line_of(9) + b"\n\n", 3),
        (b"[" + lines_of(2).rstrip().replace(b"\n", b",") + b"]", 2),
        (json.dumps([json.loads(line_of(n)) for n in range(3)], indent=2).encode(), 3),
        (b"", 0),
        (b"\n", 0),
    ],
)
def test_json_lines_are_read_however_they_are_written(
    tmp_path: Path, content: bytes, expected: int, zipped: bool
) -> None:
    # The name says nothing: gzip is told by its first bytes.
    path = write(tmp_path / "dump.json", gzip.compress(content) if zipped else content)
    batches = read(path)
    assert len(ids(batches)) == expected
    assert not reasons(batches)
    assert batches[-1].position.finished
    assert batches[-1].bytes_read in (path.stat().st_size, 0)


def test_several_gzip_members_and_padding_are_one_file(tmp_path: Path) -> None:
    content = lines_of(40)
    members = [gzip.compress(content[n : n + 97]) for n in range(0, len(content), 97)]
    path = write(tmp_path / "a.gz", b"".join(members) + b"\0" * 1000)
    assert ids(read(path)) == [f"m{n}" for n in range(40)]


def test_what_is_no_event_is_refused_with_its_line(tmp_path: Path) -> None:
    content = b"\n".join([line_of(0), b"{", b"", b"[1]", line_of(1), b"\xff"])
    batches = read(write(tmp_path / "a.json", content))
    assert ids(batches) == ["m0", "m1"]
    details = [letter.detail for batch in batches for letter in batch.refused]
    assert reasons(batches) == ["invalid_json", "not_an_object", "not_utf8"]
    assert [detail.partition(":")[0] for detail in details] == ["line 2", "line 4", "line 6"]


def test_a_line_over_the_limit_is_refused_in_bounded_memory() -> None:
    long = b'{"x":"' + b"x" * (5 * BLOCK_BYTES) + b'"}'
    lines = [
        line
        for run, _ in read_lines(io.BytesIO(b"a\n" + long + b"\nb\n" + long), EVENT_BYTES_MAX)
        for line in run
    ]
    assert [line[:1] for line in lines] == [b"a", b"{", b"b", b"{"]
    assert max(map(len, lines)) == EVENT_BYTES_MAX + 1


def test_lines_about_the_limit_go_on_after_it(tmp_path: Path) -> None:
    for spare in (-2, -1, 0, 1, 2):
        filler = line_of(1, x="")
        long = line_of(1, x="x" * (EVENT_BYTES_MAX - len(filler) + spare))
        path = write(tmp_path / "a.json", b"\n".join([line_of(0), long, line_of(2)]))
        assert ids(read(path)) == (["m0", "m1", "m2"] if spare <= 0 else ["m0", "m2"])


def test_the_receipt_is_the_gateways_or_the_clients_time(tmp_path: Path) -> None:
    imported = json.dumps({"type": "page", "userId": "u", "timestamp": NOW - 500}).encode()
    (batch,) = read(write(tmp_path / "a.json", line_of(7) + b"\n" + imported))
    assert [event.received_ms for event in batch.events] == [NOW - 7, NOW - 500]


def test_the_folder_names_the_source_in_rudderstacks_layout(tmp_path: Path) -> None:
    for date in ("2026-01-31", "01-31-2026"):
        path = write(
            tmp_path / "my/rudder-logs/src1" / date / "1.src1.u.json.gz", gzip.compress(lines_of(1))
        )
        assert read(path)[0].events[0].source == "src1"
        assert read(path, source_name="mine")[0].events[0].source == "mine"
    assert read(write(tmp_path / "a.json", lines_of(1)))[0].events[0].source == "files"


def test_a_configured_source_is_taken(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", lines_of(1))
    (file,) = find_files([str(path)])
    sources = Sources({"shop": Source(name="shop", trusted=True)})
    (batch,) = read_batches(file, sources, NOW, source_name="shop")
    assert batch.events[0].source == "shop"


def test_standard_input_is_read_and_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    with io.TextIOWrapper(io.BytesIO(gzip.compress(lines_of(3)))) as standard_input:
        monkeypatch.setattr(sys, "stdin", standard_input)
        assert ids(read("-")) == ["m0", "m1", "m2"]
        assert not standard_input.buffer.closed


# --- where it stands ---


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_resuming_at_any_position_gives_the_rest(tmp_path: Path, size: int) -> None:
    content = b"\n".join([line_of(0), b"{", line_of(1), b"", *map(line_of, range(2, 9)), b"1", b""])
    path = write(tmp_path / "a.json.gz", gzip.compress(content))
    (file,) = find_files([str(path)])
    batches = list(read_batches(file, Sources(), NOW, size=size))
    assert [batch.position.finished for batch in batches] == [False] * (len(batches) - 1) + [True]
    assert all(
        batch.position.uri == file.uri and batch.position.fingerprint == file.fingerprint
        for batch in batches
    )
    for number, batch in enumerate(batches):
        rest = list(read_batches(file, Sources(), NOW, size=4, after_line=batch.position.line))
        assert ids(rest) == ids(batches[number + 1 :])
        assert reasons(rest) == reasons(batches[number + 1 :])


@given(st.lists(st.sampled_from([b"{", b"", b"e", b"[1]", b"\r"]), max_size=30), st.integers(1, 9))
def test_batches_are_the_file_however_it_is_cut(kinds: list[bytes], size: int) -> None:
    content = b"\n".join(line_of(n) if kind == b"e" else kind for n, kind in enumerate(kinds))
    name = "memory://law/a.json"
    import fsspec

    fsspec.filesystem("memory").pipe("/law/a.json", b"\n" + content)
    file = FoundFile(name, None, "")
    whole = list(read_batches(file, Sources(), NOW, size=10**6))
    cut = list(read_batches(file, Sources(), NOW, size=size))
    assert ids(whole) == ids(cut) == [f"m{n}" for n, kind in enumerate(kinds) if kind == b"e"]
    assert reasons(whole) == reasons(cut)
    assert all(len(batch.events) + len(batch.refused) <= size for batch in cut)


# --- what cannot be read ---


def test_a_cut_gzip_file_gives_what_it_holds_and_then_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json.gz", gzip.compress(lines_of(5_000))[:-20_000])
    (file,) = find_files([str(path)])
    batches: list[Batch] = []
    with pytest.raises(SourceError, match=r"a\.json\.gz: line \d+: the gzip file ends too early"):
        for batch in read_batches(file, Sources(), NOW, size=100):
            batches.append(batch)
    assert not reasons(batches)
    assert 100 < len(ids(batches)) < 5_000
    assert ids(batches) == [f"m{n}" for n in range(len(ids(batches)))]
    assert not batches[-1].position.finished


@pytest.mark.parametrize("damage", [b"garbage" * 40, b"\xff" * 300])
def test_damaged_gzip_is_an_error_that_names_file_and_line(tmp_path: Path, damage: bytes) -> None:
    content = gzip.compress(lines_of(500))
    path = write(tmp_path / "a.json.gz", content[:1000] + damage + content[1000:])
    with pytest.raises(SourceError, match=r"a\.json\.gz: line "):
        read(path)


def test_garbage_after_gzip_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json.gz", gzip.compress(lines_of(5)) + b"garbage")
    with pytest.raises(SourceError, match=r"a\.json\.gz: line 6"):
        read(path)


def test_a_file_that_is_gone_or_a_folder_is_an_error(tmp_path: Path) -> None:
    for name in ("gone.json", "."):
        file = FoundFile(str(tmp_path / name), None, "")
        with pytest.raises(SourceError, match=r"line 1: (No such file|Is a directory)"):
            list(read_batches(file, Sources(), NOW))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", lines_of(1))
    path.chmod(0)
    with pytest.raises(SourceError, match=r"a\.json: line 1: Permission denied"):
        read(path)


def test_a_gzip_bomb_comes_in_bites(tmp_path: Path) -> None:
    path = write(tmp_path / "bomb.json.gz", gzip.compress(b"0" * 100_000_000, compresslevel=1))
    with path.open("rb") as stream:
        runs = [run for run, _ in read_lines(stream, EVENT_BYTES_MAX)]
    assert sum(len(line) for run in runs for line in run) == EVENT_BYTES_MAX + 1

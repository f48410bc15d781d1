from pathlib import Path

import msgspec
import pytest

from simulator.__main__ import main
from simulator.truth import IdentifierTruth, Truth


def test_the_command_writes_events_and_one_truth_a_message(tmp_path: Path) -> None:
    out, truth, whose = (tmp_path / name for name in ("e.jsonl", "t.jsonl", "i.jsonl"))
    arguments = ["--people", "40", "--days", "5", "--out", str(out)]

    assert main([*arguments, "--truth", str(truth), "--identifiers", str(whose)]) == 0

    events = [msgspec.json.decode(line) for line in out.read_bytes().splitlines()]
    truths = [msgspec.json.decode(line, type=Truth) for line in truth.read_bytes().splitlines()]
    people = [
        msgspec.json.decode(line, type=IdentifierTruth)
        for line in whose.read_bytes().split(b"\n")[:-1]
    ]
    assert {event["messageId"] for event in events} == {one.message_id for one in truths}
    assert len({one.message_id for one in truths}) == len(truths)
    assert len({(one.type, one.value) for one in people}) == len(people)


def test_it_says_what_is_wrong_with_a_count(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--people", "0", "--out", "x"])
    assert "must be at least 1" in capsys.readouterr().err


def test_it_says_where_it_cannot_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--people", "2", "--out", str(tmp_path / "no" / "e.jsonl")]) == 1
    assert "cannot write" in capsys.readouterr().err

"""`onefold link`, as its users type it."""

import csv
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from ingest.deciding import Draft, NoSuchDecision, merge, retract, undo
from models.errors import ModelError
from models.linking.profiles import profile_sheet
from service.commands.link import link
from service.commands.undo_run import undo_linking_run
from service.config import load_config
from service.workspace import Workspace
from storage.profiles import Lookup
from tests.models.linking.customers import Row, customers
from tests.workspace import NOON
from tests.workspace import Workspace as Shop

Run = Callable[..., str]
CONFIG = "identity:\n  external_ids: [crm_id]\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    config = tmp_path / "onefold.yaml"
    config.write_text(CONFIG)
    ticks = itertools.count(NOON)
    return Workspace(load_config(config, {}, data=tmp_path / "data"), clock=lambda: next(ticks))


@pytest.fixture
def onefold(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> str:
        link.main([str(each) for each in arguments], obj=workspace, standalone_mode=False)
        return capsys.readouterr().out

    return run


def file(folder: Path, name: str = "crm.csv", people: int = 150, end: str = "") -> Path:
    rows = [row for row in customers(people) if row[0].endswith(end)]
    return written(folder / name, rows)


def written(path: Path, rows: list[tuple[str, Row]]) -> Path:
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, ["crm_id", *rows[0][1], "notes"])
        writer.writeheader()
        writer.writerows({"crm_id": name, "notes": "secret note", **row} for name, row in rows)
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as text:
        return list(csv.DictReader(text))


def test_a_file_is_linked_and_shown_with_a_picture(onefold: Run, tmp_path: Path) -> None:
    shown = onefold(file(tmp_path))
    assert "not compared: notes" in shown
    assert "█" in shown
    assert "◂ accept 0.99" in shown
    assert "Fellegi-Sunter, learned without labels" in shown
    assert "nothing was written" in shown


def test_three_files_are_written_for_their_owner_only(onefold: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    onefold(file(tmp_path), "--out", out)
    pairs = rows_of(out / "pairs.csv")
    people = {row["record"]: row["person"] for row in rows_of(out / "people.csv")}
    assert len(pairs) > 50
    assert all(people[pair["a"]] == people[pair["b"]] for pair in pairs)
    assert all(float(pair["probability"]) >= 0.99 for pair in pairs)
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o600}


def test_json_holds_counts_and_no_person(onefold: Run, tmp_path: Path) -> None:
    text = onefold(file(tmp_path), "--json")
    made = json.loads(text)
    assert sum(made["histogram"]) == made["compared"]
    assert made["accepted"] > 50
    assert made["stored"] is True
    for name, row in customers(20):
        assert f'"{name}"' not in text
        assert row["email"] == "" or row["email"] not in text


def test_a_reviewers_decisions_are_read_back(onefold: Run, tmp_path: Path) -> None:
    crm, out = file(tmp_path), tmp_path / "out"
    little = [f"--column={column}=ignore" for column in ("phone", "email", "address", "postcode")]
    little += ["--accept", "0.9999", "--review", "0.2"]
    onefold(crm, "--out", out, *little)
    review = rows_of(out / "review.csv")
    assert len(review) > 3
    assert review[0]["decision"] == ""
    assert review[0]["agrees"] or review[0]["differs"]
    assert {"given a", "given b", "city a"} <= review[0].keys()
    decided = tmp_path / "decided.csv"
    said = ["different", "same", ""]
    with decided.open("w", newline="") as text:
        writer = csv.DictWriter(text, review[0].keys())
        writer.writeheader()
        writer.writerows(row | {"decision": word} for row, word in zip(review, said, strict=False))
    with pytest.raises(ModelError, match="it takes 20 of each"):
        onefold(crm, "--labels", decided, *little)
    onefold(crm, "--reviewed", decided, "--out", out, *little)
    pairs = {(row["a"], row["b"]) for row in rows_of(out / "pairs.csv")}
    again = {(row["a"], row["b"]) for row in rows_of(out / "review.csv")}
    keys = [(row["a"], row["b"]) for row in review]
    assert keys[0] not in pairs | again
    assert keys[1] in pairs
    assert keys[2] in again


def test_what_was_learned_can_be_used_again(onefold: Run, tmp_path: Path) -> None:
    first = json.loads(onefold(file(tmp_path), "--json", "--promote"))
    again = json.loads(onefold(file(tmp_path, "other.csv", 80), "--json", "--model", "champion"))
    assert again["version"] == first["version"]


def test_two_files_are_linked(onefold: Run, tmp_path: Path) -> None:
    one, other = file(tmp_path, "one.csv", end="a"), file(tmp_path, "other.csv", end="b")
    made = json.loads(
        onefold(
            one, "--with", other, "--constraint", "one-to-one", "--json", "--out", tmp_path / "out"
        )
    )
    assert [each["records"] for each in made["files"]] == [150, made["files"][1]["records"]]
    assert made["accepted"] / made["files"][1]["records"] > 0.9
    people = {
        (row["file"], row["record"]): row["person"]
        for row in rows_of(tmp_path / "out" / "people.csv")
    }
    for pair in rows_of(tmp_path / "out" / "pairs.csv"):
        assert people["a", pair["a"]] == people["b", pair["b"]] == f"a:{pair['a']}"


def shop(workspace: Workspace, tmp_path: Path, count: int = 40) -> Shop:
    made = Shop(tmp_path / "data", workspace.config.identity)
    for name, row in customers(count):
        if name.endswith("a"):
            day, month, year = row["birth_date"].split("/")
            made.take([{
                "type": "identify", "messageId": name, "userId": f"u{name}",
                "receivedAt": NOON, "originalTimestamp": NOON,
                "context": {"traits": {
                    "firstName": row["given"], "lastName": row["surname"], "email": row["email"],
                    "birthday": f"{year}-{month}-{day}", "phone": row["phone"],
                    "address": {"street": row["address"], "city": row["city"], "postalCode": row["postcode"]},
                }},
            }])  # fmt: skip
    return made


def test_a_file_is_linked_with_the_people_who_are_known(
    onefold: Run, workspace: Workspace, tmp_path: Path
) -> None:
    made = shop(workspace, tmp_path)
    profiles = profile_sheet(made.store, made.reader, NOON)
    made.close()
    assert len(profiles) == 40
    assert set(profiles.texts) >= {
        "given",
        "surname",
        "birth_date",
        "email",
        "phone",
        "address",
        "city",
        "postcode",
    }
    crm = file(tmp_path, people=40, end="b")
    onefold(crm, "--with", "profiles", "--out", tmp_path / "out")
    pairs = rows_of(tmp_path / "out" / "pairs.csv")
    assert len(pairs) > 15
    hasher = workspace.keys.hasher()
    right = [
        pair["b"] == hasher.node("user_id", f"u{pair['a'].partition('-')[0]}-a").hex()
        for pair in pairs
    ]
    assert all(right)


def test_nobody_is_known_in_an_empty_store(onefold: Run, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nobody is known"):
        onefold(file(tmp_path), "--with", "profiles")


def test_accepted_pairs_become_people_who_can_be_looked_up_and_undone(
    onefold: Run, workspace: Workspace, tmp_path: Path
) -> None:
    made = json.loads(onefold(file(tmp_path), "--keep", "--json"))
    store = workspace.store
    matches = list(store.evidence.scan_matches())
    people = list(store.people.scan())
    assert made["kept"] == len(matches) > 50
    assert {match.first_event for match in matches} == {f"link:{made['version']}"}
    # The rules allow five CRM ids of one person.
    assert max(len(person.members) for person in people) == made["largest"] <= 5

    node = matches[0].a
    (member,) = workspace.reader.members([node])
    assert member.identifier is not None
    found = workspace.reader.resolve([Lookup(identifiers=(member.identifier,))], NOON)[0]
    assert found is not None
    assert matches[0].b in found.members
    (created, *_) = store.changes.of(found.members, 10)
    draft = Draft("undo", "meera", "not one person", NOON)
    workspace.deciding.make(undo(store, draft, created.id))
    assert store.people.clusters_of([node, matches[0].b]) == {}
    onefold(file(tmp_path), "--keep", "--json")
    assert store.people.clusters_of([node, matches[0].b]) == {}


def test_all_that_a_run_joined_is_taken_back_at_once(
    onefold: Run,
    workspace: Workspace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def undo_run(*arguments: str) -> Any:
        said = [*arguments, "--operator", "meera", "--json"]
        undo_linking_run.main(said, obj=workspace, standalone_mode=False)
        return json.loads(capsys.readouterr().out)

    store = workspace.store
    made = json.loads(onefold(file(tmp_path), "--keep", "--json"))
    joined = {person.profile_id: person for person in store.people.scan()}
    # Somebody else's merge, and one that is undone already, are left as they are.
    first, second, third, *_ = sorted(joined)
    (change,) = store.changes.of([first], 1)
    workspace.deciding.make(undo(store, Draft("before", "meera", "no", NOON), change.id))
    other = Draft("other", "meera", "they called", NOON)
    workspace.deciding.make(merge(store, other, joined[second].members))
    run, why = made["version"], ("--yes", "--reason", "a bad run")

    planned = undo_run(run, "--dry-run")
    assert planned["undone_before"] == 1
    assert len(planned["helped_by_others"]) == 1
    assert len(planned["decisions"]) == len(joined) - 2
    assert len(store.decisions.list(1_000)) == 2, "a preview writes nothing"
    with pytest.raises(click.UsageError, match="--reason"):
        undo_run(run, "--yes")
    undone = undo_run(run, *why, "--decision-id", "d")
    assert undone["changes"] == planned["changes"]
    assert sum(undone["changes"].values()) == len(joined) - 2
    assert [person.members for person in store.people.scan()] == [joined[second].members]
    decisions = [each for each in store.decisions.list(1_000) if each.id.startswith("d.")]
    assert {(each.operator, each.reason) for each in decisions} == {("meera", "a bad run")}
    assert sorted(undone["decisions"]) == sorted(each.id for each in decisions)

    again = undo_run(run, *why, "--decision-id", "d")
    assert (again["decisions"], again["undone_before"]) == ([], len(joined) - 1)
    (change,) = [
        each for each in store.changes.of([third], 9) if each.id in {d.undoes for d in decisions}
    ]
    back = retract(store, Draft("", "meera", "it was right", NOON), f"d.{change.id}")
    workspace.deciding.make(back)
    assert joined[third] in store.people.scan()
    with pytest.raises(NoSuchDecision, match="joined nobody"):
        undo_run("20200101-000000-000", "--dry-run")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--keep", "--id-type", "loyalty_no"], "loyalty_no names no person by your rules"),
        (["--accept", "0.3"], "accept is a probability from 0.5 to 1"),
        (["--constraint", "one-to-one"], "--constraint is between two files"),
        (["--with", "nowhere.csv"], "--with nowhere.csv: no such file"),
        (["--model", "champion", "--promote"], "--model takes a stored one"),
        (["--column", "notes"], "--column takes COLUMN=ROLE"),
    ],
)
def test_what_cannot_be_is_said(
    onefold: Run, tmp_path: Path, arguments: list[str], said: str
) -> None:
    with pytest.raises(click.ClickException) as refusal:
        onefold(file(tmp_path, people=5), *arguments)
    assert said in refusal.value.format_message()


def test_a_mapping_may_be_a_file(onefold: Run, tmp_path: Path) -> None:
    mapping = tmp_path / "columns.yaml"
    mapping.write_text("notes: other\nsex: ignore\n")
    made: dict[str, Any] = json.loads(onefold(file(tmp_path), "--mapping", mapping, "--json"))
    assert made["files"][0]["columns"]["notes"] == "other:notes"
    assert made["files"][0]["not_compared"] == ["sex"]
    mapping.write_text("notes: [other\n")
    with pytest.raises(ModelError, match=r"columns\.yaml:2: not YAML"):
        onefold(file(tmp_path), "--mapping", mapping)

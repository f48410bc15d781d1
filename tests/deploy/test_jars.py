"""Fetching: what is whole is used, what is not is fetched again, and what is missing is named."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.servers.errors import NotInstalled
from deploy.servers.jars import CASSANDRA, KAFKA, LIST_NAME, fetch
from deploy.servers.java import CASSANDRA_RELEASES, Java, choose, installed

JAVA = Java(Path("/usr/bin/java"), 17)

FETCHES = """#!/bin/sh
echo . >> {log}
for each in "$@"; do case $each in -DoutputDirectory=*) out=${{each#*=}};; esac; done
sleep 0.3
mkdir -p "$out" && echo one > "$out/one.jar" && echo two > "$out/two.jar"
"""
FAILS = """#!/bin/sh
echo '[ERROR] Could not transfer artifact: no route to host'
exit 1
"""


def program(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "fetches"


@pytest.fixture
def maven(tmp_path: Path, log: Path) -> str:
    """A Maven that brings two jars and writes a line a run."""
    return program(tmp_path / "mvn", FETCHES.format(log=log))


def test_jars_are_fetched_once(tmp_path: Path, maven: str, log: Path) -> None:
    first = fetch(CASSANDRA, JAVA, cache=tmp_path / "cache", maven=maven)
    again = fetch(CASSANDRA, JAVA, cache=tmp_path / "cache", maven=maven)

    assert first == again
    assert {each.name for each in first.glob("*.jar")} == {"one.jar", "two.jar"}
    assert log.read_text() == ".\n"


def test_processes_that_fetch_at_once_fetch_once(tmp_path: Path, maven: str, log: Path) -> None:
    with ThreadPoolExecutor() as pool:
        got = [
            pool.submit(fetch, CASSANDRA, JAVA, cache=tmp_path / "cache", maven=maven)
            for _ in range(4)
        ]
        assert len({each.result() for each in got}) == 1
    assert log.read_text() == ".\n"


def test_the_two_servers_have_folders_of_their_own(tmp_path: Path, maven: str) -> None:
    cache = tmp_path / "cache"
    assert fetch(CASSANDRA, JAVA, cache=cache, maven=maven) != fetch(
        KAFKA, JAVA, cache=cache, maven=maven
    )


@pytest.mark.parametrize("damage", ["lost", "truncated", "no list", "half a list"])
def test_a_damaged_folder_is_fetched_again(
    tmp_path: Path, maven: str, log: Path, damage: str
) -> None:
    folder = fetch(CASSANDRA, JAVA, cache=tmp_path / "cache", maven=maven)
    match damage:
        case "lost":
            (folder / "one.jar").unlink()
        case "truncated":
            (folder / "one.jar").write_text("")
        case "no list":
            (folder / LIST_NAME).unlink()
        case _:
            (folder / LIST_NAME).write_text('{"one.jar": 4,')
    said: list[str] = []

    assert fetch(CASSANDRA, JAVA, cache=tmp_path / "cache", maven=maven, say=said.append) == folder

    assert (folder / "one.jar").read_text() == "one\n"
    assert log.read_text() == ".\n.\n"
    assert "damaged" in said[0]


def test_a_fetch_that_fails_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(NotInstalled, match=r"(?s)is Maven Central reached.*no route to host"):
        fetch(CASSANDRA, JAVA, cache=cache, maven=program(tmp_path / "mvn", FAILS))
    assert [each.name for each in cache.iterdir()] == ["cassandra.lock"]


def test_no_maven_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(NotInstalled, match=r"apt-get install maven"):
        fetch(CASSANDRA, JAVA, cache=tmp_path / "cache", maven=str(tmp_path / "none"))


def test_no_fitting_java_says_what_was_found_and_what_to_install() -> None:
    found = [Java(Path("/opt/jdk-25/bin/java"), 25)]
    with pytest.raises(
        NotInstalled, match=r"found Java 25 at /opt/jdk-25.*openjdk-17-jdk-headless"
    ):
        choose(found, CASSANDRA_RELEASES, "Cassandra 5 needs Java 17 (or 11)")
    with pytest.raises(NotInstalled, match="found no Java at all"):
        choose([], CASSANDRA_RELEASES, "Cassandra 5 needs Java 17 (or 11)")


def test_a_fitting_java_is_found_beside_one_that_is_too_new(tmp_path: Path) -> None:
    for release in ("25.0.3", "17.0.15", "1.8.0_402"):
        home = tmp_path / "jvm" / release / "bin"
        home.mkdir(parents=True)
        program(home / "java", f"#!/bin/sh\necho 'openjdk version \"{release}\"' >&2\n")
    newest = tmp_path / "jvm" / "25.0.3"

    found = [*installed({"JAVA_HOME": str(newest), "PATH": ""}, tmp_path / "jvm")]

    assert found[0].release == 25
    assert {each.release for each in found} == {8, 17, 25}
    assert choose(found, CASSANDRA_RELEASES, "").release == 17

"""The servers' jars: fetched once from Maven Central into a cache that every checkout shares."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.servers.errors import NotInstalled
from deploy.servers.java import Java

LIST_NAME: Final = "jars.json"
FETCH_TIMEOUT_S: Final = 600.0
PROGRESS_INTERVAL_S: Final = 2.0
LOG_LINES_SHOWN: Final = 8
MIB: Final = 1024 * 1024

Say = Callable[[str], None]


def quiet(_: str) -> None:
    """Says nothing."""


@dataclass(frozen=True)
class Artefacts:
    """What one server consists of. Class paths stay apart: the servers' logging bindings clash."""

    name: str
    version: str
    dependencies: tuple[tuple[str, str, str], ...]
    """Group, artefact and version, each."""
    size: str
    """About how much is fetched."""

    def pom(self) -> str:
        """A Maven project that depends on them."""
        dependencies = "".join(
            f"<dependency><groupId>{group}</groupId><artifactId>{artefact}</artifactId>"
            f"<version>{version}</version></dependency>\n"
            for group, artefact, version in self.dependencies
        )
        return (
            '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>\n'
            f"<groupId>onefold.servers</groupId><artifactId>{self.name}</artifactId>"
            f"<version>1</version><packaging>pom</packaging>\n<dependencies>\n{dependencies}"
            "</dependencies></project>\n"
        )


CASSANDRA: Final = Artefacts(
    "cassandra", "5.0.9", (("org.apache.cassandra", "cassandra-all", "5.0.9"),), "67 MB"
)
# Kafka's log4j binding comes with its release only, not with its artefacts.
KAFKA: Final = Artefacts(
    "kafka",
    "4.3.1",
    (
        ("org.apache.kafka", "kafka_2.13", "4.3.1"),
        ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.3"),
        ("org.apache.logging.log4j", "log4j-api", "2.25.3"),
        ("org.apache.logging.log4j", "log4j-core", "2.25.3"),
    ),
    "44 MB",
)


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/onefold/servers`, else `~/.cache/onefold/servers`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "onefold" / "servers"


def fetch(
    artefacts: Artefacts,
    java: Java,
    *,
    cache: Path | None = None,
    say: Say = quiet,
    maven: str = "mvn",
) -> Path:
    """The folder of `artefacts`' jars, fetched if it is not there whole.

    Any number of processes may call at once: one fetches, the others wait for it. A folder appears under
    its name only when it is complete, and one that was damaged later is fetched again. NotInstalled says
    what is missing: Maven, or the network.
    """
    cache = cache or cache_folder()
    pom = artefacts.pom()
    mark = hashlib.sha256(pom.encode()).hexdigest()[:8]
    folder = cache / f"{artefacts.name}-{artefacts.version}-{mark}"
    if _is_whole(folder):
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / f"{artefacts.name}.lock"):
        if _is_whole(folder):
            return folder
        if folder.exists():
            say(f"{folder} is damaged: fetching it again")
            shutil.rmtree(folder)
        with tempfile.TemporaryDirectory(prefix=f".{artefacts.name}-", dir=cache) as made:
            jars = Path(made) / "lib"
            (Path(made) / "pom.xml").write_text(pom)
            _run_maven(artefacts, Path(made), jars, java, say, maven)
            _write_list(jars)
            jars.rename(folder)
    return folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file lock `path` until the block ends; the lock ends with the process, too."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run_maven(
    artefacts: Artefacts, folder: Path, jars: Path, java: Java, say: Say, maven: str
) -> None:
    program = shutil.which(maven)
    if program is None:
        raise NotInstalled(
            f"{artefacts.name} is fetched with Maven, and there is no `mvn`."
            " Install it (Debian: apt-get install maven; macOS: brew install maven)"
        )
    say(f"fetching {artefacts.name} {artefacts.version} (about {artefacts.size}, once)")
    log = folder / "mvn.log"
    command = [program, "-B", "-ntp", "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
    environment = {**os.environ, "JAVA_HOME": str(java.home)}
    with (
        log.open("w") as output,
        subprocess.Popen(  # noqa: S603  # the user's own Maven
            command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=environment
        ) as process,
    ):
        try:
            _wait(process, jars, say)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0 or not any(jars.glob("*.jar")):
        told = [line for line in log.read_text(errors="replace").splitlines() if "ERROR" in line]
        raise NotInstalled(
            f"Maven could not fetch {artefacts.name} {artefacts.version}; is Maven Central reached from here"
            " (or its mirror, in ~/.m2/settings.xml)? It said:\n  "
            + "\n  ".join(told[:LOG_LINES_SHOWN] or ["nothing"])
        )


def _wait(process: subprocess.Popen[bytes], jars: Path, say: Say) -> None:
    deadline = time.monotonic() + FETCH_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            process.wait(PROGRESS_INTERVAL_S)
        except subprocess.TimeoutExpired:
            sizes = [each.stat().st_size for each in jars.glob("*.jar")]
            if sizes:
                say(f"  {len(sizes)} jars, {sum(sizes) // MIB} MB")
        else:
            return
    raise NotInstalled(f"Maven fetched nothing in {FETCH_TIMEOUT_S:.0f} s: is the network slow?")


def _write_list(folder: Path) -> None:
    sizes = {each.name: each.stat().st_size for each in sorted(folder.iterdir())}
    (folder / LIST_NAME).write_text(json.dumps(sizes, indent=1))


def _is_whole(folder: Path) -> bool:
    """Whether every jar that was fetched is there in its size."""
    try:
        sizes: dict[str, int] = json.loads((folder / LIST_NAME).read_text())
        return bool(sizes) and all(
            (folder / name).stat().st_size == size for name, size in sizes.items()
        )
    except (OSError, ValueError):
        return False

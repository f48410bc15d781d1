"""Which Java runs the servers."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.servers.errors import NotInstalled

CASSANDRA_RELEASES: Final = frozenset({11, 17})
"""Cassandra 5 runs on these alone: later ones lack the security manager that it sets."""
KAFKA_RELEASE_MIN: Final = 17
JVMS: Final = Path("/usr/lib/jvm")
"""Where Linux distributions put further JDKs."""
VERSION_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True)
class Java:
    """One installed Java."""

    path: Path
    release: int

    @property
    def home(self) -> Path:
        """The folder that Maven calls JAVA_HOME."""
        return self.path.resolve().parent.parent


def java_for_cassandra() -> Java:
    """A Java that Cassandra 5 runs on. NotInstalled names what to install."""
    return choose(installed(), CASSANDRA_RELEASES, "Cassandra 5 needs Java 17 (or 11)")


def java_for_kafka() -> Java:
    """A Java that Kafka 4 runs on. NotInstalled names what to install."""
    return choose(installed(), range(KAFKA_RELEASE_MIN, 100), "Kafka 4 needs Java 17 or newer")


def choose(found: Iterable[Java], releases: Iterable[int], need: str) -> Java:
    """The first of `found` whose release is one of `releases`; NotInstalled says what was found."""
    fits = frozenset(releases)
    seen: list[Java] = []
    for java in found:
        if java.release in fits:
            return java
        seen.append(java)
    what = ", ".join(f"Java {java.release} at {java.path}" for java in seen) or "no Java at all"
    raise NotInstalled(
        f"{need}; found {what}. Install a JDK 17 (Debian: apt-get install openjdk-17-jdk-headless;"
        " Fedora: dnf install java-17-openjdk-headless), or set JAVA_HOME to one"
    )


def installed(environ: Mapping[str, str] | None = None, jvms: Path = JVMS) -> Iterator[Java]:
    """Every Java of this machine: JAVA_HOME, then the path, then those of the distribution."""
    for path in _candidates(os.environ if environ is None else environ, jvms):
        if (release := _release(path)) is not None:
            yield Java(path, release)


def _candidates(environ: Mapping[str, str], jvms: Path) -> Iterator[Path]:
    if home := environ.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if found := shutil.which("java", path=environ.get("PATH", os.defpath)):
        yield Path(found)
    if jvms.is_dir():
        yield from sorted(each / "bin" / "java" for each in jvms.iterdir())


def _release(path: Path) -> int | None:
    """The feature release of the Java at `path`, or None if that is no Java."""
    try:
        told = subprocess.run(  # noqa: S603  # the user's own Java
            [path, "-version"],
            capture_output=True,
            text=True,
            check=False,
            timeout=VERSION_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', told.stderr)
    return int(match[1]) if match else None

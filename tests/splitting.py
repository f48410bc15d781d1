"""Which tests run in one process where several share them."""

from functools import cache
from pathlib import Path
from typing import Final

from xdist.scheduler import LoadScopeScheduling

SERVERS: Final = "servers"
FOLDERS: Final = {"deploy", "faults", "kafka", "storage"}
"""Whose tests start a server or are given one."""
ROOT: Final = Path(__file__).parents[1]


class ServersTogether(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """File by file, but all files that need a server in one process.

    xdist's own groups (`--dist loadgroup`) do nothing under pytest 9.2: 3.8 renames tests by a field that it no
    longer reads.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.partition("::")[0])


@cache
def group_of(path: str) -> str:
    """The group of a test file, which is named from the root of the repository."""
    file = ROOT / path
    served = file.parent.name in FOLDERS or "tests.servers" in file.read_text()
    return SERVERS if served else path

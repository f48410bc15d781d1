"""Loads a file as `onefold ingest` does, in small batches, until it is killed: `python -m … FILE FOLDER`."""

import sys
from pathlib import Path

from ingest.files import find_files
from ingest.loading import load
from tests.workspace import NOON, Workspace

BATCH = 97
"""Events of a transaction: small, so that a kill often falls into one."""


def main() -> None:
    """Load, and say `ready` when the first batch begins."""
    world = Workspace(Path(sys.argv[2]))
    print("ready", flush=True)
    load(
        find_files([sys.argv[1]]),
        world.store,
        world.pipeline,
        world.sources,
        NOON,
        source_name="web",
        batch_events=BATCH,
    )
    world.close()


if __name__ == "__main__":
    main()

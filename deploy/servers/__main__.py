"""Start and stop a real Cassandra and Kafka in the background, on loopback, without Docker."""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Final

from deploy.servers.background import KINDS, Background, configuration
from deploy.servers.errors import ServersError

FOLDER: Final = Path(__file__).resolve().parents[2] / ".servers"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the result is its exit code."""
    asked = _parser().parse_args(arguments)
    background = Background(asked.folder, say=lambda line: print(line, file=sys.stderr, flush=True))
    try:
        if asked.command == "start":
            return _start(background, asked)
        if asked.command == "stop":
            print(f"{background.stop(wipe=asked.wipe)} stopped")
            return 0
        return _status(background, as_json=asked.json)
    except ServersError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: what was started has been stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.servers", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="state, logs and data (default: %(default)s)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="start what does not run; it keeps running")
    start.add_argument("--nodes", type=int, choices=(1, 3), default=1, help="of Cassandra")
    start.add_argument("--only", choices=KINDS, help="one of the two")
    stop = commands.add_parser("stop", help="stop what runs; data is kept")
    stop.add_argument("--wipe", action="store_true", help="remove the data as well")
    status = commands.add_parser("status", help="what runs; exit code 1 unless everything answers")
    status.add_argument("--json", action="store_true")
    return parser


def _start(background: Background, asked: argparse.Namespace) -> int:
    began = time.monotonic()
    running = background.start([asked.only] if asked.only else KINDS, asked.nodes)
    print(f"ready after {time.monotonic() - began:.0f} s; for onefold.yaml:", file=sys.stderr)
    print(configuration(running))
    return 0


def _status(background: Background, *, as_json: bool) -> int:
    found = [
        {**asdict(each), "running": each.running, "answers": each.running and each.answers()}
        for each in background.status()
    ]
    if as_json:
        print(json.dumps(found, indent=1))
    for each in [] if as_json else found:
        state = "answers" if each["answers"] else "silent" if each["running"] else "ended"
        print(f"{each['name']}: {state} (process {each['pid']}, {each['folder']})")
    if not found and not as_json:
        print("nothing was started")
    return 0 if found and all(each["answers"] for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())

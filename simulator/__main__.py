"""Write a simulated stream and its truth: `python -m simulator --people 1000 --days 30 --out events.jsonl`."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from simulator.shop import Shop


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m simulator",
        description="A storefront's stream of RudderStack events, and who each message really is.",
    )
    parser.add_argument("--seed", type=int, default=1, help="equal seeds give equal files (1)")
    parser.add_argument("--people", type=_count, default=1000, help="how many people (1000)")
    parser.add_argument("--days", type=_count, default=30, help="how many days (30)")
    parser.add_argument("--out", type=Path, required=True, help="events, JSON lines")
    parser.add_argument("--truth", type=Path, help="truth of each message, JSON lines")
    parser.add_argument("--identifiers", type=Path, help="truth of each identifier, JSON lines")
    options = parser.parse_args(arguments)
    shop = Shop(options.seed, options.people, options.days)
    try:
        delivered, messages = _write_stream(shop, options.out, options.truth)
        if options.identifiers is not None:
            with options.identifiers.open("wb") as file:
                file.writelines(_line(one) for one in shop.identifiers())
    except OSError as error:
        print(f"cannot write {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"{delivered:,} deliveries of {messages:,} messages in {len(shop.visits):,} visits")
    return 0


def _write_stream(shop: Shop, out: Path, truth: Path | None) -> tuple[int, int]:
    """Deliveries and distinct messages written; the truth has one line a message."""
    told: set[str] = set()
    delivered = 0
    with ExitStack() as stack:
        events_file = stack.enter_context(out.open("wb"))
        truth_file = stack.enter_context(truth.open("wb")) if truth is not None else None
        for event, whose in shop:
            events_file.write(_line(event))
            delivered += 1
            if whose.message_id not in told:
                told.add(whose.message_id)
                if truth_file is not None:
                    truth_file.write(_line(whose))
    return delivered, len(told)


def _line(one: Any) -> bytes:
    return msgspec.json.encode(one) + b"\n"


def _count(text: str) -> int:
    """A whole number from 1 on."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())

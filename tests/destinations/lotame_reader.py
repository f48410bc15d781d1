"""Reads what Lotame would read, from the format's description alone (facts/formats.md §1).

A day's folder counts when `YYYYMMDD.done` is there; then every `segmentmembership*.json.gz` must have the md5
that stands beside it, and every row must be one that Lotame takes. Nothing of ours is used.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

ID_TYPES = {"PID", "TPID", "IDFA", "GAID", "RIDA", "TVOS", "PANO"}
FILE = re.compile(r"segmentmembership(\.[0-9]{3})?\.json\.gz")


class Unreadable(Exception):
    """Lotame would refuse it, or skip it."""


def day_is_complete(folder: Path) -> bool:
    return (folder / f"{folder.name}.done").exists()


def read_day(folder: Path) -> list[dict[str, Any]]:
    """Every row of a complete day."""
    done = folder / f"{folder.name}.done"
    if not re.fullmatch(r"[0-9]{8}", folder.name) or not done.exists():
        raise Unreadable("not complete")
    if done.stat().st_size:
        raise Unreadable("the .done must be empty")
    names = sorted(path.name for path in folder.iterdir())
    files = [name for name in names if FILE.fullmatch(name)]
    expected = {done.name, *files, *(f"{name}.md5" for name in files)}
    if set(names) != expected:
        raise Unreadable(f"unexpected files: {sorted(set(names) ^ expected)}")
    numbers = [name.split(".")[1] for name in files if name != "segmentmembership.json.gz"]
    if len(files) > 1 and numbers != [f"{n:03}" for n in range(1, len(files) + 1)]:
        raise Unreadable(f"parts are not numbered from 001: {files}")
    rows: list[dict[str, Any]] = []
    for name in files:
        rows += read_file(folder / name)
    ids = [(row["idtype"].upper(), row["userid"]) for row in rows]
    if len(set(ids)) != len(ids):
        raise Unreadable("an id is there twice")
    return rows


def read_file(path: Path) -> list[dict[str, Any]]:
    packed = path.read_bytes()
    stated = path.with_name(path.name + ".md5").read_text().split()
    if stated != [hashlib.md5(packed).hexdigest(), path.name]:
        raise Unreadable("the md5 is another one")
    if len(packed) > 5 * 1024**3:
        raise Unreadable("more than 5 GB")
    rows = [json.loads(line) for line in gzip.decompress(packed).decode().splitlines()]
    for row in rows:
        check(row)
    return rows


def check(row: dict[str, Any]) -> None:
    if not re.fullmatch(r"[A-Za-z0-9-]+", row["userid"]):
        raise Unreadable("userid")
    if row["idtype"].upper() not in ID_TYPES:
        raise Unreadable(f"idtype {row['idtype']}")
    for field in ("segments", "remove"):
        for each in row.get(field, []):
            if isinstance(each, dict):
                if not each["name"] or not isinstance(each.get("timestamp", 0), int):
                    raise Unreadable(f"{field} {each}")
                # Seconds: a time in milliseconds would be in the year 50,000.
                if field == "segments" and not 0 < each["timestamp"] < 4_000_000_000:
                    raise Unreadable(f"timestamp {each}")
            elif not isinstance(each, str) or not each:
                raise Unreadable(f"{field} {each}")
    if not isinstance(row["segments"], list):
        raise Unreadable("segments")
    if row.get("consent") is not True and not row.get("tcfconsent"):
        raise Unreadable("no consent: the row is skipped")
    unknown = row.keys() - {"userid", "idtype", "segments", "remove", "consent", "tcfconsent"}
    if unknown:
        raise Unreadable(f"unknown fields {unknown}")


def memberships(rows: list[dict[str, Any]]) -> dict[tuple[str, str], set[str]]:
    """Names of segments by (type, id)."""
    return {
        (row["idtype"], row["userid"]): {
            each["name"] if isinstance(each, dict) else each for each in row["segments"]
        }
        for row in rows
    }

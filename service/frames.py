"""Segments as data frames, for notebooks: `from service import frames`. Needs pandas (`onefold[notebook]`)."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from identity.nodes import names_device
from ingest.segments import defining
from ingest.segments.asking import Asking
from ingest.segments.sampling import Preview, Sampler
from profiles.segments.parse import parse_segment
from service.rpc.parsing import type_names
from service.workspace import Workspace


def define(
    workspace: Workspace, trees: Mapping[str, Any], *, author: str, note: str = ""
) -> defining.Plan:
    """Put segments (trees by id, as in the YAML files) into force and fill them; what that changed."""
    made = defining.plan(workspace.catalogues.now(), trees)
    defining.apply(
        workspace.store.definitions, made, author=author, note=note, now_ms=workspace.now_ms()
    )
    workspace.fill()
    return made


def preview(workspace: Workspace, tree: Any, sample: int | None = None) -> Preview:
    """What a draft would be; nothing is written. `sample` identifiers are looked at, 0 for all."""
    rules = workspace.config.identity
    sampler = Sampler(workspace.store, rules, type_names(rules))
    draft = parse_segment(tree, id="draft")
    return sampler.preview(workspace.catalogues.now(), draft, workspace.now_ms(), sample=sample)


def sizes(workspace: Workspace) -> pd.DataFrame:
    """A row for each segment, by id: people, devices, entered and left in 24 hours."""
    asking = _asking(workspace)
    found = asking.statuses(sorted(asking.catalogue().segments))
    rows = [(each.id, each.people, each.devices, each.day.entered, each.day.left) for each in found]
    columns = ["segment", "people", "devices", "entered", "left"]
    return pd.DataFrame(rows, columns=columns).set_index("segment")


def members(workspace: Workspace, segment: str) -> pd.DataFrame:
    """Everybody in a segment: profile_id (hex), since (UTC), device."""
    rows = [
        (node.hex(), since_ms, names_device(node))
        for page in _asking(workspace).members(segment)
        for node, since_ms in page
    ]
    found = pd.DataFrame(rows, columns=["profile_id", "since", "device"])
    return found.assign(since=pd.to_datetime(found["since"], unit="ms", utc=True))


def history(workspace: Workspace, segment: str, days: int = 30) -> pd.DataFrame:
    """A row for each day (UTC) on which somebody came or went, and the size at its end.

    People's own doing stands apart from merges and splits (`…_by_identity`) and edits (`…_by_definition`).
    """
    asking = _asking(workspace)
    flows = asking.history(segment, days)
    (status,) = asking.statuses([segment])
    size = status.people + status.devices
    rows = []
    for each in reversed(flows):
        rows.append(
            (each.from_ms, size, each.entered, each.left, each.entered_by_identity,
             each.left_by_identity, each.entered_by_definition, each.left_by_definition)
        )  # fmt: skip
        size -= each.change
    columns = ["day", "size", "entered", "left", "entered_by_identity", "left_by_identity",
               "entered_by_definition", "left_by_definition"]  # fmt: skip
    found = pd.DataFrame(rows[::-1], columns=columns)
    return found.assign(day=pd.to_datetime(found["day"], unit="ms", utc=True)).set_index("day")


def overlaps(workspace: Workspace, segments: Sequence[str] = ()) -> pd.DataFrame:
    """How many are in both of any two segments; how many are in each on the diagonal."""
    asking = _asking(workspace)
    keys = list(segments) or sorted(asking.catalogue().segments)
    found = pd.DataFrame(0, index=keys, columns=keys)
    for each in asking.statuses(keys):
        found.loc[each.id, each.id] = each.people + each.devices
    for one, other in combinations(keys, 2):
        found.loc[one, other] = found.loc[other, one] = asking.overlap(one, other)
    return found


def _asking(workspace: Workspace) -> Asking:
    asking = workspace.asking
    asking.settle()
    return asking

"""Explanations in words: "one person: a@b.com ─ link evt 7f3 web 2026-03-01 ─ u42"."""

from typing import Any

from identity.conflicts import conflict_id, of_two
from identity.decisions import OPERATOR
from identity.evidence import NEVER
from identity.explain import DEVICE, Obstacle, Reason, Verdict, steps
from identity.nodes import Node
from identity.resolve import HUB, Refusal
from service.commands.naming import Names
from service.output import when
from storage.explaining import Pair

_KINDS = {"must_link": "must_link", "trusted_link": "link", "link": "link", "match": "match"}
_WORDS = {
    "must_link": "told to be one by",
    "trusted_link": "named together by trusted",
    "link": "named together by",
}


def sentences(pair: Pair, names: Names) -> list[str]:
    """The verdict and why, then what else is in the way."""
    if pair.verdict is Verdict.ONE_PERSON:
        if not pair.chain:
            return ["one person: both lookups mean the same identifier"]
        told = [names.bare(pair.one)]
        for _, reason, b in steps(pair.one, pair.chain):
            told += [_shortly(reason), names.bare(b)]
        return [f"one person: {' ─ '.join(told)}"]
    said = "unknown" if pair.verdict is Verdict.UNKNOWN else "not one person"
    first, *others = pair.obstacles
    return [
        f"{said}: {_connection(pair, names)}{_first(first, pair, names)}".rstrip(),
        *(f"  also {_also(each, names)}".rstrip() for each in others),
    ]


def lines(pair: Pair, names: Names) -> list[str]:
    """The evidence of a chain, a line each."""
    return [line(a, reason, b, names) for a, reason, b in steps(pair.one, pair.chain)]


def line(a: Node, reason: Reason, b: Node, names: Names) -> str:
    """One piece of evidence."""
    refused = f"  ✗ {reason.refused}" if reason.refused else ""
    return f"  {names.of(a)} ── {_fully(reason)} ── {names.of(b)}{refused}"


def advice(pair: Pair, names: Names) -> list[str]:
    """The commands that decide what is in the way."""
    found = []
    for each in pair.obstacles:
        if each.rule == HUB:
            found.append(names.block_command(each.a))
        elif each.conflict and each.b is not None:
            found.append(f"onefold identity accept {each.conflict}")
            found.append(f"onefold identity keep-apart {each.conflict}")
    return found


def _connection(pair: Pair, names: Names) -> str:
    """What connects two people: "both named a@b.com, but "; empty if nothing does."""
    if not pair.chain:
        return ""
    between = [names.bare(b) for _, _, b in steps(pair.one, pair.chain)][:-1]
    if not between:
        return f"{_shortly(pair.chain[0])} named both, but "
    if len(between) == 1:
        return f"both named {between[0]}, but "
    return f"connected through {', '.join(between[:-1])} and {between[-1]}, but "


def _first(obstacle: Obstacle, pair: Pair, names: Names) -> str:
    who = names.bare(obstacle.a)
    if obstacle.rule == DEVICE:
        used = (
            "is nobody's now, and" if pair.verdict is Verdict.UNKNOWN else "was used by both, but"
        )
        return f"{who} {used} a device joins nobody {_told(obstacle, obstacle.detail)}"
    alone = obstacle.b is None and not pair.chain
    return f"{f'{who}: ' if alone else ''}{obstacle.detail} {_told(obstacle)}"


def _also(obstacle: Obstacle, names: Names) -> str:
    who = names.bare(obstacle.a) + (f" and {names.bare(obstacle.b)}" if obstacle.b else "")
    return f"{who}: {obstacle.detail} {_told(obstacle)}"


def _told(obstacle: Obstacle, *said: str) -> str:
    told = [*said]
    if obstacle.conflict:
        told.append(f"conflict {obstacle.conflict}")
    if obstacle.since_ms:
        told.append(f"since {_day(obstacle.since_ms)}")
    return f"({', '.join(told)})" if told else ""


def _shortly(reason: Reason) -> str:
    if reason.kind == "match":
        return f"match {reason.probability:.2f} {reason.event_id} {_day(reason.first_ms)}".rstrip()
    if reason.source == OPERATOR:
        return f"decision {reason.event_id} {_day(reason.first_ms)}"
    return f"{_KINDS[reason.kind]} evt {reason.event_id} {reason.source} {_day(reason.first_ms)}"


def _fully(reason: Reason) -> str:
    at = _day(reason.first_ms)
    if reason.kind == "match":
        return f"probably one ({reason.probability:.2f}), by run {reason.event_id} ({at})"
    if reason.source == OPERATOR:
        return f"told to be one by decision {reason.event_id} ({at})"
    return f"{_WORDS[reason.kind]} event {reason.event_id} ({reason.source}, {at})"


def _day(time_ms: int) -> str:
    return when(time_ms)[:10]


def link_plain(a: Node, reason: Reason, b: Node, names: Names) -> dict[str, Any]:
    """One piece of evidence for programs."""
    return {
        "kind": _KINDS[reason.kind],
        "a": names.of(a),
        "b": names.of(b),
        "first_ms": reason.first_ms,
        "last_ms": max(reason.first_ms, reason.last_ms) if reason.last_ms else None,
        "event_id": reason.event_id,
        "source": reason.source,
        "trusted": reason.trusted_ms < NEVER,
        "probability": reason.probability,
        "refused_by": reason.refused or None,
    }


def conflict_plain(refusal: Refusal, names: Names) -> dict[str, Any]:
    """One conflict for programs."""
    return {
        "id": conflict_id(refusal),
        "rule": refusal.rule,
        "a": names.of(refusal.a),
        "b": names.of(refusal.b) if of_two(refusal) else None,
        "detail": refusal.detail,
        "since_ms": refusal.since_ms,
    }


def obstacle_plain(obstacle: Obstacle, names: Names) -> dict[str, Any]:
    """One thing in the way, for programs."""
    return {
        "rule": obstacle.rule,
        "detail": obstacle.detail,
        "a": names.of(obstacle.a),
        "b": names.of(obstacle.b) if obstacle.b else None,
        "since_ms": obstacle.since_ms or None,
        "conflict": obstacle.conflict or None,
    }

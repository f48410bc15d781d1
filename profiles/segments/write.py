"""From a segment or a computed trait back to the plain tree that defines it, in its one form."""

from typing import Any

from profiles.segments.literals import written_duration, written_moment
from profiles.segments.tree import (
    Ago,
    AllOf,
    AnyOf,
    At,
    Check,
    ComputedTrait,
    Computes,
    Condition,
    Consents,
    Definition,
    Follow,
    Happened,
    Has,
    InSegment,
    Match,
    Not,
    Of,
    Op,
    Score,
    Seen,
    TraitIs,
    Truth,
    Window,
)

_AT_LEAST_ONCE = (Check(Op.AT_LEAST, 1),)
_EXISTS = (Check(Op.EXISTS, True),)


def write(definition: Definition) -> dict[str, Any]:
    """The tree of which `parse_definition` gives an equal definition: dicts, lists, texts, numbers, truths."""
    if isinstance(definition, ComputedTrait):
        return _computed(definition)
    tree: dict[str, Any] = {"id": definition.id, "name": definition.name}
    if definition.description:
        tree["description"] = definition.description
    if definition.sensitive:
        tree["sensitive"] = True
    if definition.granularity != "exact":
        tree["granularity"] = definition.granularity
    return tree | write_condition(definition.who)


def _computed(trait: ComputedTrait) -> dict[str, Any]:
    tree: dict[str, Any] = {"trait": trait.name}
    if trait.description:
        tree["description"] = trait.description
    tree |= _match(trait.match) | _window(trait.window)
    tree[trait.computes.value] = True if trait.computes is Computes.COUNT else trait.path
    if trait.currency:
        tree["currency"] = trait.currency
    return tree


def write_condition(condition: Condition) -> dict[str, Any]:
    """The tree of one condition."""
    match condition:
        case AllOf(of):
            tree: dict[str, Any] = {"all": [write_condition(each) for each in of]}
        case AnyOf(of):
            tree = {"any": [write_condition(each) for each in of]}
        case Not(of):
            tree = {"not": write_condition(of)}
        case TraitIs(name, checks):
            tree = {"trait": name} | ({} if checks == _EXISTS else _checks(checks))
        case Happened():
            tree = _happened(condition)
        case Seen(which, window):
            tree = {"seen": which} | _window(window)
        case Has(identifier_type):
            tree = {"has": identifier_type}
        case Consents(purpose, granted):
            tree = {"consent": purpose} | ({} if granted else {"granted": False})
        case Score(name, checks, max_age_ms):
            tree = {"score": name} | _checks(checks)
            if max_age_ms is not None:
                tree["max_age"] = written_duration(max_age_ms)
        case InSegment(segment_id):
            tree = {"segment": segment_id}
    return tree


def _happened(condition: Happened) -> dict[str, Any]:
    tree = _match(condition.match)
    window = _window(condition.window)
    if condition.of in (Of.FIRST, Of.LAST):
        tree[condition.of.value] = window
    else:
        tree |= window
    if condition.of in (Of.SUM, Of.DISTINCT):
        measured: dict[str, Any] = {"of": condition.path}
        if condition.currency:
            measured["currency"] = condition.currency
        tree[condition.of.value] = measured | _checks(condition.checks)
    elif condition.of is Of.COUNT and condition.checks != _AT_LEAST_ONCE:
        tree["count"] = _checks(condition.checks)
    return tree | _follow(condition.follow)


def _follow(follow: Follow | None) -> dict[str, Any]:
    if follow is None:
        return {}
    then = _match(follow.match) | {"within": written_duration(follow.within_ms)}
    return {"then_not" if follow.negated else "then": then | _follow(follow.then)}


def _match(match: Match) -> dict[str, Any]:
    tree: dict[str, Any] = {"event": match.spelling}
    if match.where:
        tree["where"] = {path: _checks(checks) for path, checks in match.where}
    return tree


def _window(window: Window) -> dict[str, Any]:
    match window:
        case Window(Ago(ms), None):
            return {"within": written_duration(ms)}
        case Window(since, until):
            bounds = {"since": since, "until": until}
    return {key: written_moment(bound) for key, bound in bounds.items() if bound is not None}


def _checks(checks: tuple[Check, ...]) -> dict[str, Any]:
    return {check.op.value: _value(check.value) for check in checks}


def _value(value: Any) -> Any:
    if isinstance(value, At | Ago):
        return written_moment(value)
    if isinstance(value, Truth):
        return value.value
    return [_value(each) for each in value] if isinstance(value, tuple) else value

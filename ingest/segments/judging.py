"""Which segments a profile is asked for, and in which of them it is now."""

from collections.abc import Iterable, Sequence
from typing import Final

from profiles.segments.catalogue import Catalogue
from profiles.segments.membership import NEVER_MS, Standing
from profiles.segments.subject import Subject
from profiles.segments.tree import DAY_MS

PUT_OFF_MS: Final = DAY_MS
"""How far off a moment must be that events put off, not to be looked at for them: who comes back each day has
nothing looked at in vain when it comes."""


def judged_afresh(
    subject: Subject, held: Iterable[str], catalogue: Catalogue, now_ms: int
) -> tuple[dict[str, bool], dict[str, int]]:
    """Whether a subject is in each segment that has or had it; and when time alone may change that, of all."""
    now_in = {key: False for key in held if key not in catalogue.broken}
    dues: dict[str, int] = {}
    for segment_id, judge in catalogue.judges.may_hold(subject.newest, now_ms):
        member, until_ms, _ = judge(subject, now_ms)
        if member:
            now_in[segment_id] = True
        if until_ms < NEVER_MS:
            dues[segment_id] = until_ms
    return now_in, dues


def verdicts(
    subject: Subject,
    before: Standing,
    catalogue: Catalogue,
    now_ms: int,
    only: frozenset[str] | None,
    ready: Sequence[str] | None,
) -> tuple[dict[str, bool], dict[str, int]]:
    """What was asked of a profile and whether it is in it; and when time alone may change that, of all.

    `only`: the segments that may have changed; None: all.
    `ready`: those of which its parts hold what is needed, if not all.
    """
    judges = catalogue.judges
    if only is None or not before.knows_dues:
        if ready is None:
            return judged_afresh(subject, before.segments, catalogue, now_ms)
        asked = judges.some(ready)
    else:
        wanted = _to_be_asked(only, subject, before, catalogue, now_ms)
        asked = judges.some(wanted if ready is None else wanted.intersection(ready))
    gone = before.segments.keys() - catalogue.defined - catalogue.broken.keys()
    now_in = dict.fromkeys(gone, False)
    dues = {key: at for key, at in before.dues.items() if key in catalogue.defined}
    for segment_id, judge in asked:
        now_in[segment_id], until_ms, _ = judge(subject, now_ms)
        if until_ms < NEVER_MS:
            dues[segment_id] = until_ms
        elif dues:
            dues.pop(segment_id, None)
    return now_in, dues


def _to_be_asked(
    only: frozenset[str], subject: Subject, before: Standing, catalogue: Catalogue, now_ms: int
) -> frozenset[str]:
    """What events can have changed, and what is due.

    Not what they can only have put off: a member whom more events let stay is one until it is due at least.
    """
    due = [key for key, at in before.dues.items() if at <= now_ms]
    if before.segments and subject.consent == before.consent:
        soon_ms = now_ms + PUT_OFF_MS
        only = only.difference(
            [
                key
                for key in only & catalogue.judges.growing & before.segments.keys()
                if before.dues.get(key, NEVER_MS) > soon_ms
            ]
        )
    return only.union(due)

"""Whose a device was told to be: what is not looked at could not have changed it."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from identity.devices import HOUR_MS, present_owner
from identity.evidence import Use
from identity.nodes import Node
from identity.owning import Ownership, may_change, owned, tell
from identity.rules import Rules
from tests.identity.strategies import USERS, hasher

DEVICE = hasher.node("anonymous_id", "b1")
RULES = Rules(owners_max=2)
NOBODY = Node(b"")
Spoken = list[tuple[Node, int]]

spoken = st.lists(
    st.tuples(st.sampled_from([*USERS[:4], NOBODY]), st.integers(1, 8).map(lambda n: n * 900_000)),
    max_size=12,
)
joined = st.dictionaries(st.sampled_from(USERS[:4]), st.sampled_from(USERS[:4]), max_size=2)


def merged(uses: dict[tuple[Node, int], Use], person: Node, at: int) -> Use:
    """A use, and the register that it makes."""
    new = Use(device=DEVICE, person=person, hour=at // HOUR_MS, first_ms=at, last_ms=at)
    held = uses.get((person, new.hour))
    uses[person, new.hour] = new if held is None else held.merge(new)
    return new


@given(spoken, joined)
def test_what_is_told_ends_with_the_present_owner(said: Spoken, joined: dict[Node, Node]) -> None:
    def person_of(node: Node) -> Node:
        return joined.get(node, node)

    uses: dict[tuple[Node, int], Use] = {}
    held: Ownership | None = None
    told: list[Node | None] = [None]
    times = [0]
    for person, at in [*said, *said]:
        new = merged(uses, person, at)
        if may_change(held, new):
            found = owned(list(uses.values()), person_of, RULES, held)
            held, change = tell(DEVICE, held, found, at, [f"e{at}"])
            if change:
                before = change.before[0].profile_id if change.before else None
                assert before == told[-1]
                told.append(change.after[0].profile_id if change.after else None)
                times.append(change.time_ms)
        assert told[-1] == present_owner(list(uses.values()), person_of, 0, RULES)
    assert sorted(set(times)) == times
    assert all(one != other for one, other in itertools.pairwise(told))

"""What record keeps of a batch beside its events: identifiers, uses of devices, companions."""

from collections.abc import Collection, Sequence

import msgspec

from identity.evidence import Companion, Use
from identity.nodes import Node
from ingest.identify import Statements
from ingest.known import Known
from ingest.owning import that_may_change
from ingest.record import Recorded
from storage.keys import Vault
from storage.ports import Store


class News(msgspec.Struct, frozen=True):
    """What a batch says that was not known."""

    said: Statements
    """The evidence that is left for identify."""
    uses: Sequence[Use]
    """Uses that are new, or longer than they were."""
    companions: Collection[Node]
    """Devices that go together, as was not known before."""


class Memory:
    """Writes what a batch says and this process has not written yet."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._known = Known()

    def new_uses(self, said: Recorded) -> Sequence[Use]:
        """Those that `remember` is to store: new ones, or longer than they were."""
        return self._known.new_uses(said)

    def remember(self, said: Recorded, uses: Sequence[Use], *, looks: bool = False) -> News:
        """Store identifiers, companions and `new_uses`; what is left to say of them.

        `looks`: which companions are new is looked up. Only where what is stored was told as well, in the same
        transaction; else those that this process does not know count as new.
        """
        new = self._known.new_identifiers(said)
        unknown = new.keys() - self._store.identifiers.known(new)
        self._store.identifiers.put(
            {node: (new[node].type, self._vault.seal(node, new[node].value)) for node in unknown}
        )
        companions = self._known.new_companions(said)
        unknown_pairs = [each for each in companions if not self._known.knows(each)]
        if looks:
            unknown_pairs = self._not_stored(unknown_pairs)
        self._store.devices.merge_uses(uses)
        self._store.devices.merge_companions(companions)
        heard = that_may_change(
            self._store, uses, lambda use: said.used_by[use.device, use.person, use.hour]
        )
        return News(
            Statements(self._known.new_links(said), said.must_links, uses=heard),
            uses,
            {each.node for each in unknown_pairs},
        )

    def _not_stored(self, companions: list[Companion]) -> list[Companion]:
        if not companions:
            return companions
        held = self._store.devices.companions_of({each.node for each in companions})
        stored = {(node, each.with_node) for node, some in held.items() for each in some}
        return [each for each in companions if (each.node, each.with_node) not in stored]

    def learn(self, said: Recorded) -> None:
        """Everything that `said` says is durable now, its news included."""
        self._known.learn(said)

"""What record keeps of a batch beside its events: identifiers, uses of devices, companions."""

from ingest.identify import Statements
from ingest.known import Known
from ingest.record import Recorded
from storage.keys import Vault
from storage.ports import Store


class Memory:
    """Writes what a batch says and this process has not written yet."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._known = Known()

    def remember(self, said: Recorded) -> Statements:
        """Store identifiers, uses and companions; the evidence that is left for identify."""
        new = self._known.new_identifiers(said)
        unknown = new.keys() - self._store.identifiers.known(new)
        self._store.identifiers.put(
            {node: (new[node].type, self._vault.seal(node, new[node].value)) for node in unknown}
        )
        self._store.devices.merge_uses(self._known.new_uses(said))
        self._store.devices.merge_companions(self._known.new_companions(said))
        return Statements(self._known.new_links(said), said.must_links)

    def learn(self, said: Recorded) -> None:
        """Everything that `said` says is durable now, its news included."""
        self._known.learn(said)

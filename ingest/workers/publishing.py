"""How followers hear of changes of people over the log, from whoever holds the lease of identity."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from identity.changes import PersonChange
from identity.owning import told
from identity.rules import Rules
from ingest.identify import Statements, identify
from ingest.kafka.settings import KafkaSettings
from ingest.log import Producer
from ingest.messages import EPOCH, encode_change, encode_look
from ingest.segments.evaluating import Look, causes_of
from ingest.workers.metering import UNMETERED, PeopleMeter
from ingest.workers.running import Superseded
from storage.ports import Store

LEASE: Final = "identity"
"""Whoever writes people holds this lease."""
CHANGES_AT_ONCE: Final = 500
ANNOUNCED_MAX: Final = 1_000_000
"""All that can be announced: what one batch changed, and a few before it."""
LINKS_EACH: Final = 50
"""Links of one node that are read to have it decided again; a hub has more."""


class Publisher:
    """Announces changes before they are written, and sends them once they are."""

    def __init__(
        self,
        store: Store,
        producer: Producer,
        settings: KafkaSettings,
        meter: PeopleMeter = UNMETERED,
    ) -> None:
        self._store = store
        self._producer = producer
        self._topic = settings.topic("changes")
        self._evaluate = settings.topic("evaluate")
        self._meter = meter

    def announce(self, epoch: int, changes: Sequence[PersonChange]) -> None:
        """Keep changes for whoever takes over. Superseded if somebody has: nothing may be written then."""
        if changes:
            self._store.changes.announce(changes)
        # Whoever takes over from here on knows of these changes; whoever did before has fenced them.
        self.check_lease(epoch)

    def publish(self, epoch: int) -> None:
        """Send what is announced to its followers; nothing is forgotten before they have it.

        Superseded if somebody has taken over: what is announced is theirs to send, and ours no longer
        to forget, so that we would send it for ever.
        """
        headers = {EPOCH: b"%d" % epoch}
        while changes := self._store.changes.announced(CHANGES_AT_ONCE):
            self.check_lease(epoch)
            for change in changes:
                key, value = encode_change(change)
                self._producer.send(self._topic, value, key, headers)
            for profile_id, cause in causes_of(changes).items():
                key, value = encode_look(profile_id, Look(cause))
                self._producer.send(self._evaluate, value, key)
            self._producer.flush()
            self._store.changes.published(changes)
            for change in changes:
                if change.refusal is None:
                    self._meter.changed(change.kind.value, 1)
                else:
                    self._meter.conflict(change.refusal.rule, 1)

    def check_lease(self, epoch: int) -> None:
        """Superseded if somebody has taken over."""
        if self._store.leases.epoch(LEASE) != epoch:
            raise Superseded


def recover(store: Store, rules: Rules, publisher: Publisher, epoch: int) -> None:
    """Make true what was announced and perhaps not written, or tell followers what became of it.

    With the evidence that came since, a change that was announced may never be.
    """
    if announced := store.changes.announced(ANNOUNCED_MAX):
        believed = {
            node: cluster
            for change in announced
            if change.device is None
            for cluster in change.after
            for node in cluster.members
        }
        nodes = sorted(believed)
        said = Statements(
            store.evidence.links_of(nodes, LINKS_EACH),
            store.evidence.must_links_of(nodes),
            store.evidence.matches_of(nodes),
            store.decisions.of(nodes),
        )
        announce = partial(publisher.announce, epoch)
        identify(
            store, said, rules, again=True, believed=believed, believed_owners=told(announced),
            announce=announce,
        )  # fmt: skip
    publisher.publish(epoch)


class Tenure:
    """`ingest.comparing.Followers` over the log, of a holder of the lease who writes people in bulk."""

    def __init__(self, store: Store, rules: Rules, publisher: Publisher, holder: str) -> None:
        """Take the lease, and finish what its former holder announced."""
        self._publisher = publisher
        self._epoch = store.leases.take(LEASE, holder)
        store.changes.announce([])
        recover(store, rules, publisher, self._epoch)

    def announce(self, changes: Sequence[PersonChange]) -> None:
        """Superseded if an identify worker has taken over."""
        self._publisher.announce(self._epoch, changes)

    def publish(self, changes: Sequence[PersonChange]) -> None:
        """They are written. Superseded if an identify worker has taken over."""
        self._publisher.publish(self._epoch)

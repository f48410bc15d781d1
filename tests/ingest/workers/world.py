"""Workers over a log in memory and a shared store, whose every write may be the last, or wait for others."""

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from identity.devices import present_owner
from identity.event import Source
from identity.evidence import Use
from identity.nodes import Node
from identity.resolve import Cluster
from identity.rules import Rules
from ingest.folding import Folder
from ingest.kafka.settings import KafkaSettings
from ingest.log import LogUnavailable
from ingest.memory_log import MemoryConsumer, MemoryLog
from ingest.messages import EPOCH, RECEIVED, SOURCE
from ingest.sources import Sources
from ingest.times import parse_ms
from ingest.workers.evaluate import evaluate_worker
from ingest.workers.fold import fold_worker
from ingest.workers.identify import identify_worker
from ingest.workers.record import record_worker
from ingest.workers.running import Worker
from storage.catalogues import WORKERS_AGE_S, Catalogues
from storage.errors import StoreUnavailable
from tests.ingest.workers.shared_store import Durable, View, write_to
from tests.workspace import KEYS, NOON, Workspace

SETTINGS = KafkaSettings(prefix="t", inputs=("web",))
STAGES = ("record", "fold", "identify")
STEP_S = 0.05
"""What a step takes."""
FILL_STEPS = 20
"""Rounds in which nobody has anything to do, before one who fills segments has waited long enough."""
DEPTH_MAX = 3
"""How many workers may be in the middle of a write at a time."""


class Killed(BaseException):
    """A process ends here."""


class Process:
    """One worker with its own view of the store."""

    def __init__(self, world: "World", stage: str) -> None:
        self.world = world
        self.stage = stage
        self.alive = True
        self.working = False
        self.view = View(world.durable, self._point)
        self.consumers: list[MemoryConsumer] = []
        self.worker = self._made()

    def _made(self) -> Worker:
        world, dice = self.world, self.world.dice
        log = _Log(world.log, self.consumers)
        store, batch = self.view.store, dice.choice([1, 3, 10, 50])
        if self.stage == "evaluate":
            return evaluate_worker(
                log, store, Rules(), SETTINGS, lambda: world.now_ms, "test",
                batch_messages=batch, clock=world.clock,
            )  # fmt: skip
        catalogues = Catalogues(store.definitions, WORKERS_AGE_S, world.clock)
        if self.stage == "record":
            return record_worker(
                log, store, KEYS, Rules(), Sources({"web": world.source}), SETTINGS,
                lambda: NOON, batch_messages=batch, catalogues=catalogues,
            )  # fmt: skip
        if self.stage == "fold":
            folder = Folder(store, dice.choice([0, 1, 1000]), catalogue=catalogues.now)
            return fold_worker(
                log, store, SETTINGS, lambda: NOON, folder=folder, batch_messages=batch,
                catalogues=catalogues,
            )  # fmt: skip
        return identify_worker(log, store, Rules(), SETTINGS, "test", batch_messages=batch)

    def _point(self, name: str) -> None:
        self.world.point(self, name)

    def step(self) -> int:
        """One batch, if it lives so long; how many messages are done with."""
        self.working = True
        self.world.seconds += STEP_S
        self.world.acting.append(self)
        try:
            return self.worker.step()
        except Killed:
            self.alive = False
            for consumer in self.consumers:
                self.world.log.evict(consumer)
            return 0
        finally:
            self.world.acting.pop()
            self.working = False


class _Log:
    """`MemoryLog`, noting who its consumers are."""

    def __init__(self, log: MemoryLog, consumers: list[MemoryConsumer]) -> None:
        self._log = log
        self._consumers = consumers
        for name in ("producer", "lag", "ends", "fingerprint", "close"):
            setattr(self, name, getattr(log, name))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def consumer(self, group: str, topics: Any, lost: Any) -> MemoryConsumer:
        made = self._log.consumer(group, topics, lost)
        self._consumers.append(made)
        return made


class World:
    """Everything that is shared, and the dice."""

    def __init__(
        self,
        seed: int,
        *,
        trouble: float = 1.0,
        partitions: int = 3,
        trusted: bool = False,
        stages: Sequence[str] = STAGES,
    ) -> None:
        self.stages = stages
        self.seconds = 0.0
        self.now_ms = NOON
        self.dice = random.Random(seed)
        self.durable = Durable()
        self.trouble = trouble
        self.source = Source(name="web", trusted=trusted)
        self.acting: list[Process] = []
        self.processes: list[Process] = []
        self.seen: dict[str, int] = {}
        names = ("events", "backfill", "activity", "evaluate", "segments")
        topics = {SETTINGS.topic(name): partitions for name in names}
        topics |= {SETTINGS.topic(name): 1 for name in ("links", "changes", "deadletters")}
        self.log = MemoryLog(topics | {"web": 2}, lambda: NOON, self._fault)

    def clock(self) -> float:
        """Seconds that went by: some for each step that anybody takes."""
        return self.seconds

    def count(self, what: str) -> None:
        self.seen[what] = self.seen.get(what, 0) + 1

    # --- what goes wrong -----------------------------------------------------------------------

    def point(self, process: Process, name: str) -> None:
        """A process is about to write or read: it may end here, fail, or others go on meanwhile."""
        if self.dice.random() < 0.03 * self.trouble:
            self.count("killed")
            raise Killed
        if self.dice.random() < 0.03 * self.trouble:
            self.count("store failed")
            raise StoreUnavailable("the dice say so")
        if self.dice.random() < 0.08 * self.trouble and len(self.acting) < DEPTH_MAX:
            if self.dice.random() < 0.3:
                self.count("evicted in a batch")
                for consumer in process.consumers:
                    self.log.evict(consumer)
            for _ in range(self.dice.randint(1, 6)):
                self.someone()

    def _fault(self, step: str) -> None:
        if not self.acting:
            return
        if self.dice.random() < 0.006 * self.trouble:
            self.count("killed")
            raise Killed
        if self.dice.random() < 0.006 * self.trouble:
            self.count("log failed")
            raise LogUnavailable("the dice say so")

    def someone(self) -> None:
        """A step of somebody who is not in the middle of one."""
        able = [each for each in self.processes if each.alive and not each.working]
        if able:
            self.dice.choice(able).step()

    def upheaval(self) -> None:
        """Processes come and go, groups share anew or read again from the start."""
        dice = self.dice
        if dice.random() < 0.35 * self.trouble:
            self.start(dice.choice(self.stages))
        if dice.random() < 0.05 * self.trouble:
            self.count("rebalanced")
            self.log.rebalance(SETTINGS.group(dice.choice(self.stages)))
        living = [each for each in self.processes if each.alive]
        if dice.random() < 0.04 * self.trouble and living:
            self.count("evicted between batches")
            for consumer in dice.choice(living).consumers:
                self.log.evict(consumer)
        if dice.random() < 0.03 * self.trouble and living:
            self.count("cut off")
            for consumer in dice.choice(living).consumers:
                self.log.evict(consumer)
                consumer.cut_off = not consumer.cut_off
        if dice.random() < 0.01 * self.trouble:
            self.count("replayed from the start")
            self.log.reset(SETTINGS.group(dice.choice(self.stages)))

    # --- a history -------------------------------------------------------------------------------

    def start(self, stage: str) -> None:
        """A new process; it may be killed while it starts."""
        try:
            self.processes.append(Process(self, stage))
        except (Killed, StoreUnavailable, LogUnavailable):
            self.count("killed at the start")

    def send(self, event: dict[str, Any]) -> None:
        """An event arrives by one of the ways."""
        raw = msgspec.json.encode(event)
        way = self.dice.random()
        if way < 0.3:
            self.log.append("web", raw, event["anonymousId"].encode())
            return
        headers = {SOURCE: b"web", RECEIVED: b"%d" % (parse_ms(event["receivedAt"]) or 0)}
        name = "events" if way < 0.7 else "backfill"
        key = event.get("userId") or event["anonymousId"]
        self.log.append(SETTINGS.topic(name), raw, key.encode(), headers)

    def run(self, events: Iterable[dict[str, Any]]) -> None:
        """Events arrive, some twice, while everything goes wrong."""
        for stage in self.stages:
            self.start(stage)
        for event in events:
            for _ in range(2 if self.dice.random() < 0.1 else 1):
                self.send(event)
            for _ in range(self.dice.randint(0, 3)):
                self.someone()
            self.upheaval()

    def settle(self) -> None:
        """All processes end; new ones finish the work, undisturbed."""
        self.trouble = 0.0
        for process in self.processes:
            for consumer in process.consumers:
                self.log.evict(consumer)
        self.processes = []
        for stage in self.stages:
            self.start(stage)
        self.drain()

    def drain(self) -> None:
        """Everybody works until there is nothing left to do."""
        quiet = 0
        while quiet < (3 if "evaluate" not in self.stages else FILL_STEPS):
            worked = [process.step() for process in self.processes if process.alive]
            quiet = 0 if any(worked) else quiet + 1

    def followed(self) -> set[Cluster]:
        """People as somebody knows them who heard of nothing but changes."""
        heard: dict[Node, Cluster] = {}
        newest = 0
        for message in self.log.messages(SETTINGS.topic("changes")):
            epoch = int(message.headers[EPOCH])
            if epoch < newest:
                self.count("former decider heard")
                continue
            newest = epoch
            change = msgspec.json.decode(message.value)
            for profile in change["after"]:
                members = frozenset(Node(bytes.fromhex(each)) for each in profile["members"])
                cluster = Cluster(Node(bytes.fromhex(profile["profile"])), members)
                heard |= dict.fromkeys(members, cluster)
        return {cluster for cluster in heard.values() if len(cluster.members) > 1}

    def owners_heard(self) -> tuple[dict[Node, Node | None], bool]:
        """Whose devices are, to who heard of nothing but changes; and whether each went on where it was."""
        owner_of: dict[Node, Node | None] = {}
        seen: set[str] = set()
        newest, whole = 0, True
        for message in self.log.messages(SETTINGS.topic("changes")):
            epoch = int(message.headers[EPOCH])
            change = msgspec.json.decode(message.value)
            if epoch < newest or "device" not in change or change["id"] in seen:
                continue
            newest = epoch
            seen.add(change["id"])
            device = Node(bytes.fromhex(change["device"]))
            was, now = (
                Node(bytes.fromhex(sides[0]["profile"])) if sides else None
                for sides in (change["before"], change["after"])
            )
            whole = whole and owner_of.get(device) == was != now
            owner_of[device] = now
        return owner_of, whole

    def owners(self, rules: Rules) -> dict[Node, Node | None]:
        """Whose devices are, as of their last use."""
        person_of = {n: c.profile_id for n, (_, c, _) in self.durable.people.items() if c}
        uses: dict[Node, list[Use]] = {}
        for use in self.durable.uses.values():
            uses.setdefault(use.device, []).append(use)
        return {
            device: present_owner(some, lambda node: person_of.get(node, node), 0, rules)
            for device, some in uses.items()
        }

    def everything(self, folder: Path) -> dict[str, Any]:
        """What a workspace that holds it all answers."""
        workspace = Workspace(folder)
        write_to(self.durable, workspace.store)
        found = workspace.everything()
        workspace.close()
        return found

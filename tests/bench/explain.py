"""How long explanations and previews take: of a person of 100 identifiers, and beside a hub of 80,000 links.

`make bench-explain`, or with `--cassandra` on a real node as well. A real server answers ExplainIdentity and
PreviewDecision over gRPC on loopback, with its client in the same process; each question is asked again and
again beside a BatchResolve of the same two lookups, which reads what every answer must read; its own p99 says
what other work of the machine and the node's collections of garbage do to any call. A third as many asks
before are not counted, and Cassandra has ended compacting what was just written.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import grpc
import numpy as np

from identity.rules import Rules
from service.config import GrpcConfig
from service.pb.onefold.v1 import common_pb2
from service.pb.onefold.v1 import decision_service_pb2 as decision_pb
from service.pb.onefold.v1 import identity_service_pb2 as pb
from service.pb.onefold.v1.decision_service_pb2_grpc import DecisionServiceStub
from service.pb.onefold.v1.identity_service_pb2_grpc import IdentityServiceStub
from service.rpc.process import settle
from service.rpc.server import RpcServer, Served
from storage.ports import Store
from storage.profiles import ProfileReader
from tests.bench.report import goal, machine
from tests.service.conftest import RecentItems
from tests.workspace import KEYS, NOON, Workspace

if TYPE_CHECKING:
    from storage.cassandra.store import CassandraStore

HUB_LINKS: Final = 80_000
MEMBERS: Final = 100
KIOSK_PEOPLE: Final = 50
BATCH: Final = 2_000
HEAP_MB: Final = 1_024
GOAL_MS: Final = 100.0
QUIET_LOOKS: Final = 5
SETTLE_S_MAX: Final = 120.0
RULES: Final = Rules(limits={"email": MEMBERS})
HUB: Final = ("email", "cashier@store.com")

Named = tuple[str, str]


class Question(NamedTuple):
    """What is asked, and what the answer must be."""

    what: str
    one: Named
    other: Named
    verdict: pb.IdentityVerdict
    chain: int
    rule: str = ""


QUESTIONS: Final = (
    Question(
        "two of 100 identifiers", ("email", "e0@big.in"), ("email", "e98@big.in"),
        pb.IDENTITY_VERDICT_ONE_PERSON, 2,
    ),
    Question(
        "100 identifiers and another person, one link refused", ("user_id", "big"), ("user_id", "carer"),
        pb.IDENTITY_VERDICT_NOT_ONE_PERSON, 2, "members_max",
    ),
    Question(
        "100 identifiers and a stranger", ("user_id", "big"), ("user_id", "u7"),
        pb.IDENTITY_VERDICT_NOT_ONE_PERSON, 0, "unconnected",
    ),
    Question(
        "two people beside the hub", ("user_id", "u1"), ("user_id", "u2"),
        pb.IDENTITY_VERDICT_NOT_ONE_PERSON, 2, "hub",
    ),
    Question(
        "the hub and one of its people", HUB, ("user_id", "u3"),
        pb.IDENTITY_VERDICT_NOT_ONE_PERSON, 1, "hub",
    ),
    Question(
        "one person beside the hub", ("user_id", "u4"), ("email", "u4@x.in"),
        pb.IDENTITY_VERDICT_ONE_PERSON, 1,
    ),
    Question(
        "two people of a kiosk", ("user_id", "k1"), ("user_id", "k2"),
        pb.IDENTITY_VERDICT_NOT_ONE_PERSON, 0, "device",
    ),
)  # fmt: skip


class Plan(NamedTuple):
    """What is previewed, and how many people would change."""

    what: str
    action: decision_pb.DecisionAction
    changes: int


def lookup(named: Named) -> common_pb2.Lookup:
    """A lookup by one identifier."""
    return common_pb2.Lookup(identifiers=[common_pb2.Identifier(type=named[0], value=named[1])])


def merging(one: Named, other: Named) -> decision_pb.DecisionAction:
    """That two are one person."""
    merge = decision_pb.MergeAction(lookups=[lookup(one), lookup(other)])
    return decision_pb.DecisionAction(merge=merge)


def splitting(one: Named, other: Named) -> decision_pb.DecisionAction:
    """That two are never one person."""
    sides = [decision_pb.SplitSide(lookups=[lookup(each)]) for each in (one, other)]
    return decision_pb.DecisionAction(split=decision_pb.SplitAction(sides=sides))


def blocking(one: Named) -> decision_pb.DecisionAction:
    """That a value names nobody."""
    return decision_pb.DecisionAction(block=decision_pb.BlockAction(lookup=lookup(one)))


PLANS: Final = (
    Plan(
        "preview: 100 identifiers split", splitting(("user_id", "big"), ("email", "e7@big.in")), 1
    ),
    Plan(
        "preview: 99 of 100 without the user id that joined them", blocking(("user_id", "big")), 1
    ),
    Plan(
        "preview: two people beside the hub merged",
        merging(("user_id", "u1"), ("user_id", "u2")),
        1,
    ),
    Plan("preview: somebody merged with the hub", merging(("user_id", "u1"), HUB), 1),
    Plan("preview: the hub blocked", blocking(HUB), 0),
)


def identify(user: str, email: str, minute: int, browser: str = "") -> dict[str, Any]:
    """One message that names a user id and an e-mail."""
    at = NOON + minute * 60_000
    return {
        "type": "identify", "messageId": f"{user} {email}", "userId": user, "anonymousId": browser,
        "traits": {"email": email}, "originalTimestamp": at, "receivedAt": at,
    }  # fmt: skip


def events(hub_links: int) -> Iterator[dict[str, Any]]:
    """A person of many identifiers, one who shares an e-mail with them, a hub, and a kiosk."""
    big = (identify("big", f"e{n}@big.in", 0) for n in range(MEMBERS - 1))
    guest = [identify("carer", "e5@big.in", 1), identify("carer", "carer@x.in", 1)]
    named = (identify(f"u{n}", f"u{n}@x.in", 2) for n in range(hub_links))
    cashier = (identify(f"u{n}", HUB[1], 3) for n in range(hub_links))
    kiosk = (identify(f"k{n}", f"k{n}@x.in", 60 * n, "kiosk") for n in range(KIOSK_PEOPLE))
    return chain(big, guest, named, cashier, kiosk)


@contextmanager
def serving(store: Store) -> Iterator[grpc.Channel]:
    """A connection to a real server over a store."""
    served = Served(
        store=store, keys=KEYS, rules=RULES,
        reader=ProfileReader(store, RULES, KEYS.hasher(), KEYS.vault()),
        recommending=RecentItems(), now_ms=lambda: NOON,
    )  # fmt: skip
    settle()
    with (
        RpcServer(served, GrpcConfig(port=0, grace_s=0.2)) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        yield channel


def timed(ask: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each call, after some that do not count: a server that just started compiles itself."""
    for _ in range(max(1, times // 3)):
        ask()
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - begun) * 1000)
    return taken


def measure(where: str, store: Store, times: int) -> list[str]:
    """Print a table; a goal for each question."""
    goals = []

    def row(what: str, ask: Callable[[], object], both: Callable[[], object]) -> None:
        p50, p99 = np.percentile(timed(ask, times), [50, 99])
        floor, tail = np.percentile(timed(both, times), [50, 99])
        print(
            f"  {what:<54} {p50:7.1f} {p99:8.1f} {floor:13.1f} {tail:13.1f} {p50 / floor:15.1f}",
            flush=True,
        )
        goals.append(goal(f"{where}, {what}, p99 ms", float(p99), "<=", GOAL_MS))

    print(f"\n{where}, ms{'':45}p50      p99   resolve p50   resolve p99   times resolve")
    with serving(store) as channel:
        client, deciding = IdentityServiceStub(channel), DecisionServiceStub(channel)
        for asked in QUESTIONS:
            request = pb.ExplainIdentityRequest(lookup=lookup(asked.one), other=lookup(asked.other))
            both = pb.BatchResolveRequest(lookups=[request.lookup, request.other])
            said = client.ExplainIdentity(request)
            assert (said.verdict, len(said.chain)) == (asked.verdict, asked.chain), (asked, said)
            rules = [each.rule for each in said.obstacles]
            assert asked.rule in rules if asked.rule else not rules, (asked, rules)
            row(
                asked.what,
                partial(client.ExplainIdentity, request),
                partial(client.BatchResolve, both),
            )
        two = pb.BatchResolveRequest(lookups=[lookup(("user_id", "u1")), lookup(("user_id", "u2"))])
        for plan in PLANS:
            preview = decision_pb.PreviewDecisionRequest(action=plan.action)
            would = deciding.PreviewDecision(preview)
            assert len(would.changes) == plan.changes, (plan.what, len(would.changes))
            ask = partial(deciding.PreviewDecision, preview)
            row(plan.what, ask, partial(client.BatchResolve, two))
    return goals


def main() -> None:
    """Make a store, ask, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=300, help="asks of each question")
    parser.add_argument("--hub-links", type=int, default=HUB_LINKS)
    parser.add_argument("--cassandra", action="store_true", help="on a real node as well")
    options = parser.parse_args()
    print(machine("grpcio", "networkx"))
    with tempfile.TemporaryDirectory(prefix="onefold-bench-") as made:
        folder = Path(made)
        source = Workspace(folder, RULES)
        begun = time.perf_counter()
        source.take(events(options.hub_links), batch=BATCH)
        people, refusals = source.store.people.counts()
        print(
            f"store: {people:,} people, {refusals:,} conflicts, a hub of {options.hub_links:,} links, "
            f"in {time.perf_counter() - begun:,.0f} s"
        )
        goals = measure("SQLite", source.store, options.times)
        if options.cassandra:
            goals += on_cassandra(source.store, folder, options.times)
        source.close()
    print()
    for line in goals:
        print(line)


def on_cassandra(source: Store, folder: Path, times: int) -> list[str]:
    """The same questions on one node."""
    from deploy.servers.cluster import CassandraCluster
    from storage.cassandra.schema import migrate
    from storage.cassandra.settings import CassandraSettings
    from storage.cassandra.store import CassandraStore
    from storage.copying import copy

    with CassandraCluster(folder / "cassandra", heap_mb=HEAP_MB, first_compiler_only=False) as node:
        settings = CassandraSettings(hosts=node.hosts, port=node.port, replication=1, timeout_s=10)
        migrate(settings)
        store = CassandraStore(settings, KEYS)
        copy(source, store)
        print(
            f"\nCassandra: compactions of what was just written ended after {settled_s(store):.0f} s"
        )
        goals = measure("Cassandra, one node", store, times)
        store.close()
    return goals


def settled_s(store: "CassandraStore") -> float:
    """Wait until the node no longer compacts what was just written, which no store does all day; how long."""
    begun = time.perf_counter()
    quiet = 0
    while quiet < QUIET_LOOKS and time.perf_counter() - begun < SETTLE_S_MAX:
        busy = store.connection.execute("SELECT keyspace_name FROM system_views.sstable_tasks")
        quiet = 0 if busy else quiet + 1
        time.sleep(1)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()

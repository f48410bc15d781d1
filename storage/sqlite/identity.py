"""Evidence, devices, people and identifiers in SQLite."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from identity.evidence import Companion, Link, Match, MustLink, Use
from identity.nodes import Node, nodes_in
from identity.owning import Ownership
from identity.resolve import Cluster, Refusal
from storage.sqlite.database import Database

_LINK: Final = "a, b, first_ms, first_event, source, trusted_ms, last_ms"
_MUST: Final = "a, b, first_ms, first_event, source"
_ownership = msgspec.msgpack.Decoder(Ownership).decode


class SqliteEvidence:
    """`storage.identity_ports.Evidence`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def merge_links(self, links: Sequence[Link]) -> list[Link]:
        if not links:
            return []
        merged: dict[tuple[Node, Node], Link] = {}
        for link in links:
            held = merged.get((link.a, link.b))
            merged[link.a, link.b] = link if held is None else held.merge(link)
        with self._database.transaction():
            stored = {(link.a, link.b): link for link in self._pairs(merged)}
            changed, write = [], []
            for key, link in merged.items():
                held = stored.get(key)
                now = link if held is None else held.merge(link)
                if now == held:
                    continue
                write.append(now)
                if held is None or (now.first_ms, now.trusted_ms) != (
                    held.first_ms,
                    held.trusted_ms,
                ):
                    changed.append(now)
            self._database.insert_many(
                f"INSERT OR REPLACE INTO links ({_LINK})",
                [
                    (
                        link.a,
                        link.b,
                        link.first_ms,
                        link.first_event,
                        link.source,
                        link.trusted_ms,
                        link.last_ms,
                    )
                    for link in sorted(write, key=lambda link: (link.a, link.b))
                ],
            )
        return changed

    def _pairs(self, pairs: Iterable[tuple[Node, Node]]) -> list[Link]:
        found = self._database.rows_in(
            lambda marks: (
                f"SELECT {_LINK} FROM links JOIN (VALUES {marks}) AS wanted "
                "ON a = substr(wanted.column1, 1, 16) AND b = substr(wanted.column1, 17)"
            ).replace("?", "(?)"),
            [a + b for a, b in pairs],
        )
        return [_link(row) for row in dict.fromkeys(found)]

    def merge_must_links(self, links: Sequence[MustLink]) -> list[MustLink]:
        changed = []
        with self._database.transaction():
            for link in links:
                changed += self._database.write(
                    f"INSERT INTO must_links ({_MUST}) VALUES (?, ?, ?, ?, ?) "
                    "ON CONFLICT (a, b) DO UPDATE SET first_ms = excluded.first_ms, "
                    "first_event = excluded.first_event, source = excluded.source "
                    "WHERE (excluded.first_ms, excluded.first_event) < (first_ms, first_event)",
                    (link.a, link.b, link.first_ms, link.first_event, link.source),
                ) * [link]
        return changed

    def links_of(self, nodes: Sequence[Node], limit_each: int | None = None) -> list[Link]:
        found: dict[tuple[Node, Node], Link] = {}
        if limit_each is None:
            for end in ("a", "b"):
                for row in self._database.rows_in(_naming(_LINK, "links", end), nodes):
                    found[row[0], row[1]] = _link(row)
            return list(found.values())
        for node in nodes:
            for row in self._database.rows(
                f"SELECT * FROM (SELECT {_LINK} FROM links WHERE a = ?1 LIMIT ?2) "
                f"UNION ALL SELECT * FROM (SELECT {_LINK} FROM links WHERE b = ?1 LIMIT ?2)",
                (node, limit_each),
            ):
                found[row[0], row[1]] = _link(row)
        return list(found.values())

    def must_links_of(self, nodes: Sequence[Node]) -> list[MustLink]:
        found: dict[tuple[Node, Node], MustLink] = {}
        for end in ("a", "b"):
            for row in self._database.rows_in(_naming(_MUST, "must_links", end), nodes):
                found[row[0], row[1]] = _must_link(row)
        return list(found.values())

    def merge_matches(self, matches: Sequence[Match]) -> list[Match]:
        changed = []
        with self._database.transaction():
            held = {(m.a, m.b): m for m in self.matches_of(sorted({m.a for m in matches}))}
            for match in matches:
                before = held.get((match.a, match.b))
                now = match if before is None else before.merge(match)
                if now != before:
                    held[match.a, match.b] = now
                    changed.append(now)
            self._database.write_many(
                "INSERT OR REPLACE INTO matches VALUES (?, ?, ?)",
                [(match.a, match.b, msgspec.msgpack.encode(match)) for match in changed],
            )
        return changed

    def matches_of(self, nodes: Sequence[Node]) -> list[Match]:
        found: dict[tuple[Node, Node], Match] = {}
        for end in ("a", "b"):
            for row in self._database.rows_in(_naming("a, b, match", "matches", end), nodes):
                found[row[0], row[1]] = msgspec.msgpack.decode(row[2], type=Match)
        return list(found.values())

    def scan_matches(self) -> Iterator[Match]:
        return (
            msgspec.msgpack.decode(blob, type=Match)
            for (blob,) in self._database.each("SELECT match FROM matches ORDER BY a, b")
        )

    def scan_links(self) -> Iterator[Link]:
        return map(_link, self._database.each(f"SELECT {_LINK} FROM links ORDER BY a, b"))

    def scan_must_links(self) -> Iterator[MustLink]:
        return map(_must_link, self._database.each(f"SELECT {_MUST} FROM must_links ORDER BY a, b"))


class SqliteDevices:
    """`storage.identity_ports.Devices`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def merge_uses(self, uses: Sequence[Use]) -> None:
        self._database.insert_many(
            "INSERT INTO uses",
            [(use.device, use.hour, use.person, use.first_ms, use.last_ms) for use in uses],
            "ON CONFLICT (device, hour, person) DO UPDATE SET "
            "first_ms = min(first_ms, excluded.first_ms), last_ms = max(last_ms, excluded.last_ms)",
        )

    def uses_of(self, devices: Iterable[Node]) -> dict[Node, list[Use]]:
        return uses_from(
            self._database.rows_in(
                _naming("device, first_ms, last_ms, hour, person", "uses", "device"), devices
            )
        )

    def merge_companions(self, companions: Sequence[Companion]) -> None:
        self._database.insert_many(
            "INSERT INTO companions",
            [
                pair
                for c in companions
                for pair in ((c.node, c.with_node, c.last_ms), (c.with_node, c.node, c.last_ms))
            ],
            "ON CONFLICT (node, with_node) DO UPDATE SET last_ms = max(last_ms, excluded.last_ms)",
        )

    def companions_of(self, nodes: Iterable[Node]) -> dict[Node, list[Companion]]:
        found: dict[Node, list[Companion]] = {}
        rows = self._database.rows_in(
            lambda marks: (
                f"SELECT node, with_node, last_ms FROM companions WHERE node IN ({marks})"
            ),
            nodes,
        )
        for node, with_node, last_ms in sorted(set(rows), key=lambda row: (-row[2], row[1])):
            found.setdefault(node, []).append(
                Companion(node=node, with_node=with_node, last_ms=last_ms)
            )
        return found

    def scan_uses(self) -> Iterator[Use]:
        for device, hour, person, first_ms, last_ms in self._database.each(
            "SELECT device, hour, person, first_ms, last_ms FROM uses ORDER BY device, hour, person"
        ):
            yield Use(device=device, person=person, hour=hour, first_ms=first_ms, last_ms=last_ms)


class SqliteOwners:
    """`storage.identity_ports.Owners`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, devices: Iterable[Node]) -> dict[Node, Ownership]:
        rows = self._database.rows_in(
            lambda marks: f"SELECT device, ownership FROM device_owners WHERE device IN ({marks})",
            devices,
        )
        return {device: _ownership(blob) for device, blob in rows}

    def put(self, owners: Mapping[Node, Ownership]) -> None:
        with self._database.transaction():
            self._database.write_many(
                "INSERT OR IGNORE INTO device_users VALUES (?, ?)",
                sorted((user, device) for device, held in owners.items() for user in held.users),
            )
            self._database.write_many(
                "INSERT OR REPLACE INTO device_owners VALUES (?, ?)",
                [(device, msgspec.msgpack.encode(held)) for device, held in owners.items()],
            )

    def used_by(self, people: Iterable[Node]) -> set[Node]:
        rows = self._database.rows_in(_naming("device", "device_users", "person"), people)
        return {device for (device,) in rows}

    def scan(self) -> Iterator[tuple[Node, Ownership]]:
        for device, blob in self._database.each(
            "SELECT device, ownership FROM device_owners ORDER BY 1"
        ):
            yield device, _ownership(blob)


class SqlitePeople:
    """`storage.identity_ports.People`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def clusters_of(self, nodes: Iterable[Node]) -> dict[Node, Cluster]:
        rows = self._database.rows_in(
            lambda marks: (
                "SELECT node, profile, members FROM cluster_members JOIN clusters USING (profile) "
                f"WHERE node IN ({marks})"
            ),
            nodes,
        )
        made: dict[Node, Cluster] = {}
        found: dict[Node, Cluster] = {}
        for node, profile, members in rows:
            if profile not in made:
                made[profile] = cluster_from(profile, members)
            found[node] = made[profile]
        return found

    def write(
        self, resolved: Collection[Node], clusters: Sequence[Cluster], refusals: Sequence[Refusal]
    ) -> None:
        nodes = [(node,) for node in resolved]
        members = [(node, c.profile_id) for c in clusters for node in c.members]
        with self._database.transaction():
            # Every old cluster of a touched node ends; those that live on are written below.
            old = {
                profile
                for (profile,) in self._database.rows_in(
                    lambda marks: f"SELECT profile FROM cluster_members WHERE node IN ({marks})",
                    resolved,
                )
            }
            self._database.write_many(
                "DELETE FROM clusters WHERE profile = ?", [(profile,) for profile in sorted(old)]
            )
            for statement in (
                "DELETE FROM cluster_members WHERE node = ?",
                "DELETE FROM refusals WHERE a = ?",
                "DELETE FROM refusals WHERE b = ?",
            ):
                self._database.write_many(statement, nodes)
            self._database.insert_many(
                "INSERT OR REPLACE INTO clusters",
                [(c.profile_id, b"".join(sorted(c.members))) for c in clusters],
            )
            self._database.insert_many("INSERT OR REPLACE INTO cluster_members", sorted(members))
            self._database.insert_many(
                "INSERT OR REPLACE INTO refusals",
                [(r.a, r.b, r.since_ms, msgspec.msgpack.encode(r)) for r in refusals],
            )

    def refusals_of(self, nodes: Iterable[Node]) -> list[Refusal]:
        wanted = list(nodes)
        found = set()
        for end in ("a", "b"):
            found |= set(self._database.rows_in(_naming("refusal", "refusals", end), wanted))
        return [_refusal(blob) for (blob,) in sorted(found)]

    def refusals(self, limit: int) -> list[Refusal]:
        return [
            _refusal(blob)
            for (blob,) in self._database.rows(
                "SELECT refusal FROM refusals ORDER BY since_ms DESC, a, b LIMIT ?", (limit,)
            )
        ]

    def scan(self) -> Iterator[Cluster]:
        for profile, members in self._database.each(
            "SELECT profile, members FROM clusters ORDER BY 1"
        ):
            yield cluster_from(profile, members)

    def counts(self) -> tuple[int, int]:
        ((clusters, refusals),) = self._database.rows(
            "SELECT (SELECT count(*) FROM clusters), (SELECT count(*) FROM refusals)"
        )
        return clusters, refusals


class SqliteIdentifiers:
    """`storage.identity_ports.Identifiers`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, values: Mapping[Node, tuple[str, bytes]]) -> None:
        self._database.insert_many(
            "INSERT OR IGNORE INTO identifiers",
            [(node, type_, sealed) for node, (type_, sealed) in sorted(values.items())],
        )

    def get(self, nodes: Iterable[Node]) -> dict[Node, tuple[str, bytes]]:
        rows = self._database.rows_in(
            lambda marks: f"SELECT node, type, sealed FROM identifiers WHERE node IN ({marks})",
            nodes,
        )
        return {node: (type_, sealed) for node, type_, sealed in rows}

    def known(self, nodes: Iterable[Node]) -> set[Node]:
        rows = self._database.rows_in(
            lambda marks: f"SELECT node FROM identifiers WHERE node IN ({marks})", nodes
        )
        return {node for (node,) in rows}

    def count(self) -> dict[str, int]:
        return dict(
            self._database.rows(
                "SELECT type, count(*) FROM identifiers GROUP BY type ORDER BY type"
            )
        )


def _naming(columns: str, table: str, end: str) -> Callable[[str], str]:
    """A query for rows whose `end` is among the place holders."""
    return lambda marks: f"SELECT {columns} FROM {table} WHERE {end} IN ({marks})"


def _link(row: tuple[Any, ...]) -> Link:
    a, b, first_ms, first_event, source, trusted_ms, last_ms = row
    return Link(
        a=a, b=b, first_ms=first_ms, first_event=first_event, source=source,
        trusted_ms=trusted_ms, last_ms=last_ms,
    )  # fmt: skip


def _must_link(row: tuple[Any, ...]) -> MustLink:
    a, b, first_ms, first_event, source = row
    return MustLink(a=a, b=b, first_ms=first_ms, first_event=first_event, source=source)


def cluster_from(profile: Node, members: bytes) -> Cluster:
    """A stored cluster: its members one after the other."""
    return Cluster(profile_id=profile, members=frozenset(nodes_in(members)))


def uses_from(rows: Iterable[tuple[Any, ...]]) -> dict[Node, list[Use]]:
    """Uses by device, oldest first; rows are (device, first_ms, last_ms, hour, person), some there twice."""
    found: dict[Node, list[Use]] = {}
    for device, first_ms, last_ms, hour, person in sorted(set(rows)):
        found.setdefault(device, []).append(
            Use(device=device, person=person, hour=hour, first_ms=first_ms, last_ms=last_ms)
        )
    return found


def _refusal(blob: bytes) -> Refusal:
    return msgspec.msgpack.decode(blob, type=Refusal)

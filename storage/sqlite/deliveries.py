"""What was sent to destinations, in SQLite."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from storage.segment_ports import Delivery
from storage.sqlite.database import Database

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Delivery).decode
_FIRST: Final = (1 << 62, "")


class SqliteDeliveries:
    """`storage.ports.Deliveries`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, deliveries: Sequence[Delivery]) -> None:
        self._database.write_many(
            "INSERT INTO deliveries VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "ended = excluded.ended, delivery = excluded.delivery WHERE excluded.ended >= ended",
            [
                (
                    each.id,
                    each.destination,
                    each.started_ms,
                    each.ended_ms is not None,
                    _encode(each),
                )
                for each in deliveries
            ],
        )

    def list(
        self, limit: int, destination: str | None = None, before: tuple[int, str] | None = None
    ) -> list[Delivery]:
        rows = self._database.rows(
            "SELECT delivery FROM deliveries WHERE (? IS NULL OR destination = ?) "
            "AND (started_ms, id) < (?, ?) ORDER BY started_ms DESC, id DESC LIMIT ?",
            (destination, destination, *(before or _FIRST), limit),
        )
        return [_decode(blob) for (blob,) in rows]

    def positions(self, destination: str) -> dict[str, str]:
        return dict(
            self._database.rows(
                "SELECT segment, token FROM delivery_positions WHERE destination = ? ORDER BY 1",
                (destination,),
            )
        )

    def acknowledge(self, destination: str, positions: Mapping[str, str], at: int) -> None:
        self._database.write_many(
            "INSERT INTO delivery_positions VALUES (?, ?, ?, ?) ON CONFLICT (destination, segment) "
            "DO UPDATE SET token = excluded.token, at = excluded.at WHERE excluded.at >= at",
            [(destination, segment, token, at) for segment, token in sorted(positions.items())],
        )

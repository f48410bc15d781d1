"""Just enough of Cassandra's native protocol to ask whether a node answers.

The driver is an optional dependency, and takes a second to find out that a node is not up yet. Frames are those
of protocol version 4: https://cassandra.apache.org/doc/latest/cassandra/reference/native-protocol.html
"""

import socket
import struct
from typing import Final

VERSION: Final = 4
ERROR, STARTUP, READY, QUERY, RESULT = 0x00, 0x01, 0x02, 0x07, 0x08
ONE: Final = 1
ALL: Final = 5
SKIP_METADATA: Final = 0x02
NO_METADATA: Final = 0x04
HAS_MORE_PAGES: Final = 0x02
ROWS: Final = 2
FRAME_BYTES_MAX: Final = 16 * 1024 * 1024

REPLICAS_OF_DISTRIBUTED: Final = 3
READ_DISTRIBUTED: Final = (
    "SELECT parent_id FROM system_distributed.parent_repair_history"
    " WHERE parent_id = 00000000-0000-1000-8080-808080808080"
)
"""A read of a keyspace that every cluster has, in three copies."""

Row = tuple[bytes | None, ...]


class CqlError(Exception):
    """The node refused a statement; the message is its own."""


def query(
    host: str, port: int, statement: str, timeout_s: float = 5.0, *, consistency: int = ONE
) -> list[Row]:
    """The rows of `statement`'s first page, values as bytes. OSError if nobody answers in time."""
    with socket.create_connection((host, port), timeout_s) as connection:
        options = _string("CQL_VERSION") + _string("3.0.0")
        opcode, body = _call(connection, STARTUP, struct.pack(">H", 1) + options)
        if opcode != READY:
            raise CqlError(f"no plain session: opcode {opcode}, {body[:200]!r}")
        text = statement.encode()
        opcode, body = _call(
            connection,
            QUERY,
            struct.pack(">i", len(text)) + text + struct.pack(">HB", consistency, SKIP_METADATA),
        )
    if opcode == ERROR:
        raise CqlError(body[6:].decode(errors="replace"))
    return _rows(body) if opcode == RESULT else []


def answers(host: str, port: int, timeout_s: float = 2.0) -> bool:
    """Whether the node answers CQL."""
    try:
        return bool(query(host, port, "SELECT release_version FROM system.local", timeout_s))
    except (OSError, CqlError):
        return False


def reaches_peers(host: str, port: int, peers: int, timeout_s: float = 5.0) -> bool:
    """Whether the node knows `peers` other nodes and, where there are two or more, reads from them."""
    try:
        known = query(host, port, "SELECT peer FROM system.peers_v2", timeout_s)
        if len(known) < peers:
            return False
        if peers >= REPLICAS_OF_DISTRIBUTED - 1:
            query(host, port, READ_DISTRIBUTED, timeout_s, consistency=ALL)
    except (OSError, CqlError):
        return False
    return True


def _call(connection: socket.socket, opcode: int, body: bytes) -> tuple[int, bytes]:
    connection.sendall(struct.pack(">BBhBi", VERSION, 0, 0, opcode, len(body)) + body)
    _, _, _, answered, length = struct.unpack(">BBhBi", _read(connection, 9))
    if not 0 <= length <= FRAME_BYTES_MAX:
        raise CqlError(f"not a CQL server: a frame of {length} bytes")
    return answered, _read(connection, length)


def _read(connection: socket.socket, length: int) -> bytes:
    read = bytearray()
    while len(read) < length:
        chunk = connection.recv(length - len(read))
        if not chunk:
            raise ConnectionError("the node closed the connection")
        read += chunk
    return bytes(read)


def _string(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()


def _rows(body: bytes) -> list[Row]:
    """The rows of a RESULT without metadata."""
    (kind,) = struct.unpack_from(">i", body)
    if kind != ROWS:
        return []
    flags, columns = struct.unpack_from(">ii", body, 4)
    at = 12
    if flags & HAS_MORE_PAGES:
        at += 4 + max(struct.unpack_from(">i", body, at)[0], 0)
    if not flags & NO_METADATA:
        raise CqlError("the node sent metadata that was not asked for")
    (count,) = struct.unpack_from(">i", body, at)
    at += 4
    rows: list[Row] = []
    for _ in range(count):
        row: list[bytes | None] = []
        for _ in range(columns):
            (length,) = struct.unpack_from(">i", body, at)
            at += 4
            row.append(None if length < 0 else body[at : at + length])
            at += max(length, 0)
        rows.append(tuple(row))
    return rows

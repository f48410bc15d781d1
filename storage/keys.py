"""The workspace's keys: one hashes identifiers into nodes, one seals their values."""

import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from identity.nodes import Node, NodeHasher
from storage.errors import KeyMismatch

_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class Keys(msgspec.Struct, frozen=True):
    """The hash key lives as long as the workspace: with another, every id would be another."""

    hash_key: bytes
    value_key: bytes

    def __repr__(self) -> str:
        return "Keys(…)"

    def hasher(self) -> NodeHasher:
        """Turns identifiers into nodes."""
        return NodeHasher(self.hash_key)

    def vault(self) -> "Vault":
        """Seals and opens values."""
        return Vault(self.value_key)

    def fingerprint(self) -> str:
        """Tells two workspaces' keys apart without giving them away."""
        return self.hasher().node("fingerprint", "onefold").hex()


class Vault:
    """AES-256-GCM with a fresh 96-bit nonce for each value, bound to its node (NIST SP 800-38D)."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, node: Node, value: str) -> bytes:
        """`value`, readable only with the key and for this node."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, value.encode("utf-8", "surrogatepass"), node)

    def open(self, node: Node, sealed: bytes) -> str:
        """What `seal` was given; KeyMismatch with another key, another node or other bytes."""
        return self.open_all([(node, sealed)])[0]

    def open_all(self, sealed: Iterable[tuple[Node, bytes]]) -> list[str]:
        """The same of many values with their nodes, in their order."""
        decrypt = self._cipher.decrypt
        try:
            plain = [
                decrypt(each[:_NONCE_BYTES], each[_NONCE_BYTES:], node) for node, each in sealed
            ]
        except (InvalidTag, ValueError):
            raise KeyMismatch(
                "a stored identifier does not open with this workspace's keys"
            ) from None
        return [each.decode("utf-8", "surrogatepass") for each in plain]


def load_keys(path: Path) -> Keys:
    """The keys in `path`; KeyMismatch if it is missing or damaged."""
    try:
        text = json.loads(path.read_bytes())
        keys = Keys(bytes.fromhex(text["hash_key"]), bytes.fromhex(text["value_key"]))
    except FileNotFoundError:
        raise KeyMismatch(
            f"{path}: no key file; restore it, for without it nobody can be found"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise KeyMismatch(f"{path}: not a key file (two 64-digit hex values)") from None
    if {len(keys.hash_key), len(keys.value_key)} != {_BYTES}:
        raise KeyMismatch(f"{path}: keys must have {_BYTES} bytes each")
    return keys


def create_keys(path: Path) -> Keys:
    """New random keys in a new file that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = Keys(secrets.token_bytes(_BYTES), secrets.token_bytes(_BYTES))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"hash_key": keys.hash_key.hex(), "value_key": keys.value_key.hex()}, file)
        file.flush()
        os.fsync(file.fileno())
    return keys

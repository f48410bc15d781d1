"""What commands call identifiers, and how one names them to a command."""

import shlex
from collections.abc import Iterable
from typing import Final

from identity.nodes import EMAIL, PHONE, USER_ID, Node
from storage.profiles import ProfileReader

_HEX_SHOWN: Final = 8
_OPTIONS: Final = {USER_ID: "user", EMAIL: "email", PHONE: "phone"}


class Names:
    """What nodes stand for, read at once."""

    def __init__(self, reader: ProfileReader, nodes: Iterable[Node]) -> None:
        self._found = {each.node: each.identifier for each in reader.members(sorted(set(nodes)))}

    def of(self, node: Node) -> str:
        """`email a@b.com`; the node's id where the value was not kept."""
        found = self._found[node]
        return f"{found.type} {found.value}" if found else node.hex()

    def bare(self, node: Node) -> str:
        """`a@b.com`; the beginning of the node's id where the value was not kept."""
        found = self._found[node]
        return found.value if found else f"{node.hex()[:_HEX_SHOWN]}…"

    def option(self, node: Node) -> str:
        """The option that names an identifier of a person to a command: `--email a@b.com`."""
        found = self._found[node]
        if found is None:
            return f"--id {node.hex()}"
        if option := _OPTIONS.get(found.type):
            return f"--{option} {shlex.quote(found.value)}"
        return f"--external {shlex.quote(f'{found.type}={found.value}')}"

    def block_command(self, node: Node) -> str:
        """The command after which an identifier names nobody."""
        return f"onefold identity block {self.option(node)}"

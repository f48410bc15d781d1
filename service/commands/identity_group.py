"""`onefold identity`, put together from its parts."""

from service.commands import decisions
from service.commands.identity import identity
from service.commands.identity_rebuild import rebuild

for _command in decisions.COMMANDS:
    identity.add_command(_command)
identity.add_command(rebuild)

__all__ = ["identity"]

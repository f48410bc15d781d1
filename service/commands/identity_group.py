"""`onefold identity`, put together from its parts."""

from service.commands import decisions
from service.commands.identity import identity

for _command in decisions.COMMANDS:
    identity.add_command(_command)

__all__ = ["identity"]

"""`onefold identity`, put together from its parts."""

from service.commands import decisions
from service.commands.identity import identity
from service.commands.identity_rebuild import rebuild
from service.commands.undo_run import undo_linking_run

for _command in decisions.COMMANDS:
    identity.add_command(_command)
identity.add_command(rebuild)
identity.add_command(undo_linking_run)

__all__ = ["identity"]

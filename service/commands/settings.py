"""`onefold config`: the configuration in force."""

import click

from service.output import console, json_option, print_json, table
from service.workspace import Workspace, pass_workspace


@click.group("config")
def config() -> None:
    """The configuration in force."""


@config.command("show")
@json_option
@pass_workspace
def show(workspace: Workspace, as_json: bool) -> None:
    """Every setting, where it comes from, without secrets."""
    settings = workspace.config.settings()
    if as_json:
        print_json({setting.path: setting.value for setting in settings})
        return
    console.print(
        table(["setting", "value", "from"], [(s.path, s.value, s.origin) for s in settings])
    )

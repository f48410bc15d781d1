"""`onefold`: the command line, and the one place where everything is put together."""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import click

COMMANDS: Final = {
    # name: (module, attribute, one line for --help). Modules are imported when their command runs, so
    # that `onefold --help` does not wait for numpy and gRPC.
    "demo": (
        "service.commands.demo",
        "demo",
        "A real shop's events become people and recommendations.",
    ),
    "serve": ("service.commands.serve", "serve", "Serve gRPC and the HTTP collector."),
    "ingest": ("service.commands.ingest", "ingest", "Load events from files or a Kafka topic."),
    "worker": ("service.commands.worker", "worker", "Run a stage beside others, on Kafka."),
    "migrate": ("service.commands.migrate", "migrate", "Create or upgrade keyspaces and topics."),
    "replay": (
        "service.commands.replay",
        "replay",
        "Build derived tables again, beside the live ones.",
    ),
    "copy": ("service.commands.copying", "copy_store", "Take an embedded store to Cassandra."),
    "profile": ("service.commands.profile", "profile", "Find a person and what they did."),
    "identity": (
        "service.commands.identity_group",
        "identity",
        "Who is who and why; merge, split, undo.",
    ),
    "link": ("service.commands.link", "link", "Records that are probably one person."),
    "segments": (
        "service.commands.segments",
        "segments",
        "Audiences: define, preview, watch, list members.",
    ),
    "catalog": ("service.commands.upkeep", "catalog", "The items that can be recommended."),
    "train": ("service.commands.training", "train", "Train, compare and promote a model."),
    "evaluate": (
        "service.commands.models",
        "evaluate",
        "Compare every model on the newest events.",
    ),
    "models": ("service.commands.models", "models", "Trained models: list, promote, roll back."),
    "recommend": ("service.commands.recommend", "recommend", "Recommend items to a person."),
    "export": ("service.commands.export", "export", "Send audiences to destinations."),
    "deadletters": (
        "service.commands.upkeep",
        "deadletters",
        "What was refused, and trying it again.",
    ),
    "verify": (
        "service.commands.upkeep",
        "verify",
        "Prove that what is live follows from what is stored.",
    ),
    "config": ("service.commands.settings", "config", "The configuration in force."),
    "doctor": (
        "service.commands.doctor",
        "doctor",
        "What works here, what is missing, and what to do.",
    ),
}


class _Lazy(click.Group):
    """Commands that are imported when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="ONEFOLD_CONFIG",
    help="Configuration file (default: ./onefold.yaml if it is there).",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="ONEFOLD_DATA",
    help="Folder of the store, keys and models (default: ./onefold-data).",
)
@click.version_option(package_name="onefold")
@click.pass_context
def cli(ctx: click.Context, config_file: Path | None, data: Path | None) -> None:
    """One profile per person from a customer event stream."""
    from service.config import load_config
    from service.workspace import Workspace

    config = load_config(config_file, os.environ, data=data)
    ctx.obj = workspace = Workspace(config)
    ctx.call_on_close(workspace.close)


def main(arguments: list[str] | None = None) -> None:
    """Run `onefold`; known errors are one line on standard error and exit status 1."""
    try:
        cli.main(arguments, prog_name="onefold", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.Abort:
        click.echo("stopped", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except known_errors() as error:
        click.echo(f"onefold: {error}", err=True)
        sys.exit(1)


def known_errors() -> tuple[type[BaseException], ...]:
    """Errors whose message says what to do; anything else is a defect and shows its trace."""
    from destinations.errors import DestinationError
    from ingest.errors import IngestError
    from models.errors import ModelError
    from service.config import ConfigError
    from service.errors import PortTaken
    from storage.errors import StoreError

    return (IngestError, ModelError, ConfigError, StoreError, PortTaken, DestinationError)


if __name__ == "__main__":
    main()

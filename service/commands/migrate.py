"""`onefold migrate`: make or upgrade what the workspace is kept in."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from service.config import ConfigError
from service.config_checks import need_cassandra
from service.output import console, json_option, print_json
from service.workspace import Workspace, pass_workspace
from storage.errors import KeyMismatch
from storage.keys import create_keys


@click.command("migrate")
@click.option("--topics", is_flag=True, help="Create the topics in Kafka too.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@json_option
@pass_workspace
def migrate(workspace: Workspace, topics: bool, dry_run: bool, as_json: bool) -> None:
    r"""Create or upgrade the keyspaces in Cassandra, the workspace's keys and, when asked, the topics.

    Running it twice is the same as once. A schema that is newer than this version is refused.

    \b
    onefold migrate --topics --dry-run
    onefold migrate --topics
    """
    config = workspace.config
    need_cassandra(config, "migrate")
    if topics and not config.kafka.brokers:
        raise ConfigError(
            f"{config.origin('kafka.brokers')}: kafka.brokers: whose topics? name brokers"
        )
    steps = [*_keyspaces(workspace, dry_run), *_keys(workspace, dry_run)]
    if topics:
        steps += _topics(workspace, dry_run)
    if as_json:
        print_json({"would" if dry_run else "did": steps})
        return
    for step in steps:
        console.print(("would " if dry_run else "") + step, markup=False, soft_wrap=True)
    if not steps:
        console.print(f"nothing to do: {workspace.place}", markup=False, soft_wrap=True)


def _keyspaces(workspace: Workspace, dry_run: bool) -> list[str]:
    from storage.cassandra import schema

    settings = workspace.config.cassandra
    return list(_missing(workspace)) if dry_run else schema.migrate(settings)


def _missing(workspace: Workspace) -> Iterator[str]:
    """What the cluster lacks, by its own metadata."""
    from storage.cassandra import schema
    from storage.cassandra.connection import Connection

    settings = workspace.config.cassandra
    connection = Connection(settings)
    try:
        schema.check_release(connection)
        there = connection.cluster.metadata.keyspaces
        facts, derived = settings.keyspaces(schema.FIRST_GENERATION)
        whole = facts in there and "meta" in there[facts].tables
        if whole:
            derived = settings.keyspaces(
                schema.live_generation(connection, facts) or schema.FIRST_GENERATION
            )[1]
        for keyspace, file in ((facts, "facts.cql"), (derived, "derived.cql")):
            if keyspace not in there:
                yield f"make keyspace {keyspace}"
            held = there[keyspace].tables if keyspace in there else ()
            text = (Path(schema.__file__).parent / file).read_text()
            for table in re.findall(r"CREATE TABLE IF NOT EXISTS \{\w+\}\.(\w+)", text):
                if table not in held:
                    yield f"make table {keyspace}.{table}"
        if whole:
            schema.check(connection, settings)
        else:
            yield f"set schema version {schema.SCHEMA_VERSION}"
    finally:
        connection.close()


def _keys(workspace: Workspace, dry_run: bool) -> list[str]:
    """Keys for a new workspace; those of one that has data are somewhere else and are not made up."""
    path = workspace.keys_path
    made = not path.exists()
    if dry_run:
        return [f"make keys in {path}"] if made else []
    if made:
        create_keys(path)
    try:
        # Opening it writes down whose keys these are, before anybody stores anything.
        _ = workspace.store
    except KeyMismatch:
        if not made:
            raise
        path.unlink()
        raise KeyMismatch(
            f"{path}: no key file, and {workspace.place} was written with one; restore it (store.keys)"
        ) from None
    return (
        [f"made keys in {path}: keep a copy, for without them nobody can be found"] if made else []
    )


def _topics(workspace: Workspace, dry_run: bool) -> list[str]:
    from ingest.kafka.topics import make_topics

    steps = make_topics(workspace.config.kafka, dry_run=dry_run)
    return steps if dry_run else [step.replace("make", "made", 1) for step in steps]

"""`onefold link`: which records are probably one person, though no identifier says so."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import yaml

from identity.nodes import USER_ID
from identity.normalize import Normalizer
from identity.rules import Rules
from ingest.identify import Statements
from models.linking.artefact import Linker
from models.linking.deciding import ANY, CONSTRAINTS
from models.linking.errors import BadMapping
from models.linking.linking import NOTHING_KNOWN, Linked, Progress, Settings
from models.linking.linking import link as link_records
from models.linking.matches import PROFILE, identifiers_of, matches_of, run_of
from models.linking.output import REVIEW, accepted_pairs, write
from models.linking.profiles import profile_sheet
from models.linking.reading import TARGETS, Options, Sheet, read
from models.linking.records import Records, gather, read_known
from models.linking.registry import LinkingRegistry
from service.commands.link_report import Summary, render, review_hint, summarize
from service.output import console, json_option, print_json, steps_progress
from service.workspace import Workspace, pass_workspace

PROFILES: Final = "profiles"
"""What `--with` takes beside a file: the people who are known already."""
MATCHES_AT_ONCE: Final = 500
"""Matches that are decided together."""
_EXISTING: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("link")
@click.argument("file", type=_EXISTING)
@click.option(
    "--with",
    "other",
    metavar="FILE|profiles",
    help="Link with another file, or with the profiles known here.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="COLUMN=ROLE",
    help=f"What a column holds, for example occupation=other. Roles: {', '.join(TARGETS)}.",
)
@click.option("--mapping", type=_EXISTING, help="The same as YAML: a role for each column.")
@click.option("--encoding", default="utf-8-sig", show_default=True, help="Of the files.")
@click.option(
    "--dates",
    type=click.Choice(["day-first", "month-first"]),
    default="day-first",
    show_default=True,
    help="What 03/04/1980 means.",
)
@click.option("--labels", type=_EXISTING, help="Pairs that are known: columns a, b, decision.")
@click.option("--reviewed", type=_EXISTING, help="A review file with its decisions filled in.")
@click.option(
    "--model",
    "model_name",
    metavar="VERSION",
    help="Use a stored model: champion, candidate or a version.",
)
@click.option("--accept", default=0.99, show_default=True, help="Least probability of one person.")
@click.option("--review", default=0.8, show_default=True, help="Least probability worth a look.")
@click.option(
    "--constraint",
    type=click.Choice(CONSTRAINTS),
    default=ANY,
    show_default=True,
    help="Between two files: how many records may be one with a record.",
)
@click.option(
    "--people-max", type=int, help="Records of one person at most; by default what the rules allow."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for pairs.csv, people.csv and review.csv.",
)
@click.option(
    "--id-type", default="crm_id", show_default=True, help="Identifier type of the file's ids."
)
@click.option(
    "--with-id-type",
    default="crm_id",
    show_default=True,
    help="Identifier type of the other file's ids.",
)
@click.option("--keep", "keeps", is_flag=True, help="Store accepted pairs as evidence.")
@click.option("--promote", is_flag=True, help="Make what was learned the champion.")
@json_option
@pass_workspace
def link(workspace: Workspace, /, file: Path, as_json: bool, **options: Any) -> None:
    """Find records of FILE that are probably one person, in it or in another file or among profiles.

    FILE is CSV or JSON lines. Columns are recognized by their names. Nothing is learned from labels unless
    --labels or --reviewed has some.
    """
    started = time.monotonic()
    if options["model_name"] and (options["labels"] or options["promote"]):
        raise click.UsageError(
            "--labels and --promote are of a new model; --model takes a stored one"
        )
    rules = workspace.config.identity
    if options["keeps"]:
        _check_keeping(workspace, options, rules)
    settings = _settings(options, rules)
    registry = LinkingRegistry(Path(workspace.config.models.registry))
    linker = registry.load(options["model_name"]) if options["model_name"] else None
    with _progress() as progress:
        records = _records(workspace, file, options, progress)
        linked = _link(workspace, records, settings, linker, options, progress)
    stored = linker is not None or _store(registry, linked, promote=options["promote"])
    made = summarize(linked, records, settings, stored=stored)
    if options["out"]:
        written = [str(path) for path in write(options["out"], linked, records)]
        made = msgspec.structs.replace(made, written=written)
    if options["keeps"]:
        kept = _kept(workspace, linked, rules, options)
        made = msgspec.structs.replace(made, kept=kept)
    made = msgspec.structs.replace(made, seconds=round(time.monotonic() - started, 2))
    if as_json:
        print_json(made)
        return
    console.print(render(made))
    _say_what_next(made, options)


def _say_what_next(made: Summary, options: Mapping[str, Any]) -> None:
    if options["out"] is None:
        console.print("nothing was written; --out FOLDER writes pairs, people and a file to review")
    elif made.uncertain:
        console.print(review_hint(made, str(options["out"] / REVIEW)), markup=False)
    if made.kept:
        console.print(f"what it joined is taken back by: onefold identity undo-run {made.version}")
    if made.accepted and options["out"] and not options["keeps"]:
        console.print("no profile changed: accepted pairs are in files only")


def _settings(options: Mapping[str, Any], rules: Rules) -> Settings:
    most = rules.members_max
    if options["keeps"]:
        # A person of more would be refused when evidence is resolved.
        most = min(most, rules.limits.get(options["id_type"], rules.limit_default))
    try:
        return Settings(
            accept=options["accept"], review=options["review"], constraint=options["constraint"],
            people_max=options["people_max"] or max(most, 2),
        )  # fmt: skip
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@contextmanager
def _progress() -> Iterator[Progress]:
    with steps_progress() as bar:
        task = bar.add_task("reading", total=None)

        def step(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield step


def _records(
    workspace: Workspace, file: Path, options: Mapping[str, Any], progress: Progress
) -> Records:
    columns = _columns(options["columns"], options["mapping"])
    how = Options(columns=columns, encoding=options["encoding"])
    sheets: Sequence[Sheet] = [read(file, how)]
    other = options["other"]
    if other == PROFILES:
        told = lambda count: progress("reading profiles", count, count)  # noqa: E731
        known = profile_sheet(workspace.store, workspace.reader, workspace.now_ms(), told)
        sheets = [*sheets, known]
    elif other:
        path = Path(other)
        if not path.is_file():
            raise click.UsageError(f"--with {other}: no such file; or is it `--with profiles`?")
        # A mapping may name columns that only one of the files has.
        sheets = [*sheets, read(path, msgspec.structs.replace(how, columns={}))]
    elif options["constraint"] != ANY:
        raise click.UsageError("--constraint is between two files: name the other one by --with")
    normalizer = Normalizer(workspace.config.identity)
    return gather(sheets, normalizer, day_first=options["dates"] == "day-first")


def _columns(pairs: Sequence[str], mapping: Path | None) -> dict[str, str]:
    found: dict[str, str] = {}
    if mapping is not None:
        try:
            stated = yaml.safe_load(mapping.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            mark = getattr(error, "problem_mark", None)
            where = f"{mapping}:{mark.line + 1}" if mark else str(mapping)
            raise BadMapping(f"{where}: not YAML") from None
        if not isinstance(stated, dict) or not all(
            isinstance(text, str) for pair in stated.items() for text in pair
        ):
            raise BadMapping(f"{mapping}: not a role for each column, such as `mobile_no: phone`")
        found |= stated
    for pair in pairs:
        column, equals, role = pair.rpartition("=")
        if not equals:
            raise click.UsageError("--column takes COLUMN=ROLE, for example mobile_no=phone")
        found[column] = role
    return found


def _link(
    workspace: Workspace, records: Records, settings: Settings, linker: Linker | None,
    options: Mapping[str, Any], progress: Progress,
) -> Linked:  # fmt: skip
    known = {
        name: read_known(options[name], records) if options[name] else NOTHING_KNOWN
        for name in ("labels", "reviewed")
    }
    now_ms = workspace.now_ms()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now_ms / 1000))
    return link_records(
        records.people, settings, now_ms=now_ms, version=f"{stamp}-{now_ms % 1000:03}", linker=linker,
        labels=known["labels"], decided=known["reviewed"], progress=progress,
    )  # fmt: skip


def _store(registry: LinkingRegistry, linked: Linked, *, promote: bool) -> bool:
    registry.push(linked.linker)
    if promote:
        registry.promote(linked.linker.manifest.version)
    return True


def _check_keeping(workspace: Workspace, options: Mapping[str, Any], rules: Rules) -> None:
    """Say what keeping matches lacks, before any work is done."""
    named = {*rules.person_priority, *rules.external_ids}
    types = [options["id_type"]]
    if options["other"] and options["other"] != PROFILES:
        types.append(options["with_id_type"])
    for type_name in types:
        if type_name not in named:
            raise click.ClickException(
                f"{type_name} names no person by your rules; add it to identity.external_ids, or give another "
                "type by --id-type"
            )
        if type_name == USER_ID and rules.limit_user_id == 1 and not options["other"]:
            raise click.ClickException("two user ids are never one person (limit_user_id is 1)")
    _ = workspace.deciding


def _kept(workspace: Workspace, linked: Linked, rules: Rules, options: Mapping[str, Any]) -> int:
    other = options["other"]
    right = (
        PROFILE if other == PROFILES else options["with_id_type"] if other else options["id_type"]
    )
    pairs, hasher, vault = accepted_pairs(linked), workspace.keys.hasher(), workspace.keys.vault()
    named = identifiers_of(pairs, hasher, rules, type_a=options["id_type"], type_b=right)
    workspace.store.identifiers.put(
        {node: (each.type, vault.seal(node, each.value)) for node, each in named.items()}
    )
    matches = matches_of(
        pairs, hasher, rules, type_a=options["id_type"], type_b=right,
        first_ms=linked.linker.manifest.trained_ms, first_event=run_of(linked.linker.manifest.version),
    )  # fmt: skip
    with steps_progress() as progress:
        task = progress.add_task("keeping matches", total=len(matches))
        for start in range(0, len(matches), MATCHES_AT_ONCE):
            some = matches[start : start + MATCHES_AT_ONCE]
            workspace.deciding.say(Statements(matches=some))
            progress.advance(task, len(some))
    return len(matches)

"""`onefold demo`: from a real shop's events to a recommendation for the right person."""

import shutil
import sys
import time
import urllib.request
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

import click
import grpc
import msgspec
from rich.panel import Panel
from rich.rule import Rule
from rich.text import Text

from identity.devices import Why, owners_of
from identity.nodes import ANONYMOUS_ID, Node
from ingest.files import Batch, FoundFile, find_files
from ingest.items import ItemRefused, read_items
from ingest.loading import Loaded, load
from ingest.pipeline import Pipeline
from models import zoo
from models.train import train
from profiles.facts import CANONICAL, Kind
from profiles.part import Interaction, decode
from profiles.profile import Profile, history
from service.commands.models import load_interactions, render_board
from service.commands.profile import render
from service.commands.serve import Running
from service.config import load_config
from service.demo_data import ITEMS, ORDERS, TRUSTED, write_clicks
from service.output import bytes_progress, console, steps_progress, table, when
from service.pb.onefold.v1 import common_pb2, recommendation_service_pb2
from service.pb.onefold.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from service.workspace import Workspace
from storage.attribution import Attribution
from storage.profiles import Lookup

KEY: Final = "demo-write-key"
CALL_S: Final = 10
SHOWN: Final = 5
HEADING_WIDTH_MAX: Final = 100
LATER_MS: Final = 10 * 60_000
"""How long after the person's newest event the demo's own click happens, in the shop's time."""


@click.command("demo")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), default=Path("onefold-demo"),
              show_default=True, help="Where the demo keeps its store; made anew each time.")  # fmt: skip
def demo(folder: Path) -> None:
    """Load a real shop's orders and a web site's clicks, stitch, train, serve, and show what happened."""
    started = time.monotonic()
    marker = folder / ".onefold-demo"
    if folder.exists() and not marker.exists() and any(folder.iterdir()):
        raise click.ClickException(
            f"{folder} is not a folder of the demo; name another with --folder"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    marker.touch()
    environ = {
        f"ONEFOLD_SOURCES__{TRUSTED.upper()}__TRUSTED": "true",
        "ONEFOLD_STORE__KIND": "sqlite",
        "ONEFOLD_GRPC__PORT": "0",
        "ONEFOLD_COLLECTOR__PORT": "0",
    }
    workspace = Workspace(load_config(None, environ, data=folder))
    try:
        _load(workspace, folder)
        person = _people(workspace)
        _train(workspace)
        _serve(workspace, person)
    finally:
        workspace.close()
    _next(folder, person, workspace, time.monotonic() - started)


def _title(text: str) -> None:
    console.print()
    heading = Rule(Text(text, "bold"), align="left", style="dim")
    console.print(heading, width=min(console.width, HEADING_WIDTH_MAX))


def _load(workspace: Workspace, folder: Path) -> None:
    _title("1. Events")
    console.print(
        "Orders of Online Retail II (Chen 2012, UCI, CC BY 4.0), and made-up clicks around them."
    )
    files = {TRUSTED: ORDERS}
    sources = [(name, path) for name, path in write_clicks(folder / "clicks").items()]
    total = Loaded()
    for name, path in [*files.items(), *sources]:
        with _loading(path) as report:
            done = load(
                find_files([str(path)]), workspace.store, cast(Pipeline, workspace.pipeline),
                workspace.sources,
                workspace.now_ms(), source_name=name, progress=report,
            )  # fmt: skip
        total.events += done.events
        total.counted += done.counted
        total.refused += done.refused
    items = [
        item for item in read_items(ITEMS, workspace.now_ms()) if not isinstance(item, ItemRefused)
    ]
    workspace.store.catalog.upsert(items)
    console.print(
        f"{total.events:,} events, {total.events - total.counted:,} of them told twice and counted once; "
        f"{total.refused:,} refused; {len(items):,} items"
    )


@contextmanager
def _loading(path: Path) -> Iterator:  # type: ignore[type-arg]
    with bytes_progress() as progress:
        task = progress.add_task(path.name, total=path.stat().st_size, note="")

        def report(_file: FoundFile, batch: Batch | None, so_far: Loaded) -> None:
            done = batch.bytes_read if batch else path.stat().st_size
            progress.update(task, completed=done, note=f"{so_far.events:,} events")

        yield report


class _Story(msgspec.Struct):
    """Somebody whose visit before the login is worth telling."""

    profile: Node
    device: Node
    before: list[Interaction]
    login_ms: int
    later: int
    """Visits on the device after the login that count too."""


def _people(workspace: Workspace) -> _Story:
    _title("2. People")
    store, rules = workspace.store, workspace.config.identity
    attribution = Attribution(store, rules)
    counts = store.identifiers.count()
    leaves: set[Node] = set()
    after = None
    while page := store.parts.leaves(after, 5_000):
        leaves |= {attribution.person(leaf) for leaf in page if not leaf[6] & 8}
        after = page[-1]
    owners: Counter[int] = Counter()
    stories, stitched = [], set()
    for device, uses in store.devices.uses_of(_devices(workspace)).items():
        people = {attribution.person(use.person) for use in uses if use.person}
        owners[len(people)] += 1
        visits = decode(blob).visits if (blob := store.parts.read([device]).get(device)) else []
        owned = owners_of([(v.start_ms, v.end_ms) for v in visits], uses, attribution.person, rules)
        before: list[Interaction] = []
        for visit, owner in zip(visits, owned, strict=True):
            if owner.person is None:
                continue
            stitched.add(owner.person)
            if owner.why in (Why.BEFORE_FIRST, Why.LOGIN):
                before += visit.body.interactions
        if len(people) == 1 and before:
            login = min(use.first_ms for use in uses if use.person)
            ahead = [seen for seen in before if seen.time_ms < login]
            stories.append(_Story(people.pop(), device, ahead, login, len(visits)))
    _, refusals = store.people.counts()
    shared = sum(n for people, n in owners.items() if people > 1)
    console.print(
        f"{sum(counts.values()):,} identifiers became [bold]{len(leaves):,} people[/]: "
        f"{len(stitched):,} got visits from before they logged in, {shared:,} shared browsers were "
        f"kept apart, {refusals:,} links were refused (`onefold identity conflicts`)"
    )
    best = max(
        stories, key=lambda s: (min(len(s.before), SHOWN), _bought(workspace, s.profile), s.profile)
    )
    _tell(workspace, best)
    return best


def _devices(workspace: Workspace) -> list[Node]:
    return list(dict.fromkeys(use.device for use in workspace.store.devices.scan_uses()))


def _bought(workspace: Workspace, profile: Node) -> int:
    found = workspace.reader.get(Lookup(profile_id=profile), workspace.now_ms())
    return len(found.profile.purchases) if found else 0


def _tell(workspace: Workspace, story: _Story) -> None:
    found = workspace.reader.get(Lookup(profile_id=story.profile), workspace.now_ms())
    assert found is not None  # noqa: S101 - it was just counted
    names = _names(workspace, found.profile)
    picture = Text()
    picture.append("one browser, nobody logged in\n", "dim")
    for seen in sorted(story.before)[-SHOWN:]:
        what = CANONICAL[Kind(seen.kind)].lower()
        picture.append(f"  {when(seen.time_ms)}  ○ {what} {names.get(seen.item, seen.item)}\n")
    picture.append(f"  {when(story.login_ms)}  ● logs in", "bold green")
    picture.append("  ─ from here on all of it is one person's\n", "dim")
    console.print(
        Panel(picture, title="before and after a login", title_align="left", expand=False)
    )
    console.print(render(found))


def _names(workspace: Workspace, profile: Profile) -> dict[str, str]:
    items = workspace.store.catalog.get([seen.item for seen in history(profile)])
    return {item_id: item.name for item_id, item in items.items()}


def _train(workspace: Workspace) -> None:
    _title("3. Models")
    with steps_progress() as bar:
        task = bar.add_task("reading events", total=None)
        manifest = train(
            load_interactions(workspace),
            workspace.registry,
            workspace.now_ms(),
            # The demo takes one setting a model; `onefold train` tries several.
            default=lambda: [grid[:1] for grid in zoo.default()],
            progress=lambda what, done, total: bar.update(
                task, description=what, completed=done, total=total
            ),
        )
    if manifest.leaderboard is not None:
        console.print(render_board(manifest.leaderboard))
    workspace.registry.promote(
        manifest.version,
        force="the demo shows recommendations in any case" if manifest.refusal else "",
    )
    if manifest.refusal:
        console.print("[yellow]promoted for the demo only[/]")


def _serve(workspace: Workspace, story: _Story) -> None:
    _title("4. Served over gRPC")
    running = Running(workspace)
    running.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{running.rpc.port}") as channel:
            service = RecommendationServiceStub(channel)
            _recommended(workspace, service, story.profile)
            item = _click(workspace, story, running.collector.port, service)
            console.print(
                f"\nTen minutes later they look at [bold]{item}[/] (one `track` to the collector).\n"
                "What they viewed lately, asked a moment after:"
            )
            _recommended(workspace, service, story.profile, "SURFACE_RECENTLY_VIEWED")
    finally:
        running.stop()


def _recommended(
    workspace: Workspace,
    service: RecommendationServiceStub,
    profile: Node,
    surface: str = "SURFACE_FOR_YOU",
) -> None:
    reply = service.Recommend(
        recommendation_service_pb2.RecommendRequest(
            surface=surface,
            lookup=common_pb2.Lookup(profile_id=profile.hex()),
            exclude_bought=surface == "SURFACE_FOR_YOU",
            limit=SHOWN,
        ),
        timeout=CALL_S,
    )
    names = workspace.store.catalog.get([item.item_id for item in reply.items])
    console.print(
        table(
            ["", "item", "why"],
            [
                (
                    n,
                    names[item.item_id].name if item.item_id in names else item.item_id,
                    item.reason.text,
                )
                for n, item in enumerate(reply.items, start=1)
            ],
        )
    )
    newest = reply.newest_event_time.ToDatetime().strftime("%Y-%m-%d %H:%M")
    console.print(f"[dim]{reply.model} {reply.model_version}; newest event counted {newest} UTC[/]")


def _click(
    workspace: Workspace, story: _Story, port: int, service: RecommendationServiceStub
) -> str:
    """One product view through the collector, on the browser that she logged in with."""
    reply = service.Recommend(
        recommendation_service_pb2.RecommendRequest(
            surface=recommendation_service_pb2.SURFACE_TRENDING, limit=1
        ),
        timeout=CALL_S,
    )
    item_id = reply.items[0].item_id
    (person,) = workspace.reader.members([story.profile])
    found = workspace.reader.get(Lookup(profile_id=story.profile), workspace.now_ms())
    assert found is not None  # noqa: S101 - it was shown a moment ago
    assert person.identifier is not None  # noqa: S101 - profile ids are identifiers that were seen
    named = "userId" if person.identifier.type == "user_id" else ANONYMOUS_ID
    body = msgspec.json.encode(
        {
            "type": "track", "event": "Product Viewed", named: person.identifier.value,
            "messageId": f"demo-{workspace.now_ms()}", "properties": {"product_id": item_id},
            "timestamp": (found.profile.last_ms or 0) + LATER_MS,
        }
    )  # fmt: skip
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/track",
        body,
        {"Authorization": "Basic " + b64encode(f"{KEY}:".encode()).decode()},
    )
    with urllib.request.urlopen(request, timeout=CALL_S) as answer:  # noqa: S310
        answer.read()
    items = workspace.store.catalog.get([item_id])
    return items[item_id].name if item_id in items else item_id


def _next(folder: Path, story: _Story, workspace: Workspace, seconds: float) -> None:
    _title("How to go on")
    program = Path(sys.argv[0])
    if program.is_absolute() and program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    run = f"{program} --data {folder}"
    profile = story.profile.hex()
    for line, text in (
        (f"{run} profile show --id {profile} --events", "what they did, on which device"),
        (f"{run} identity explain --id {profile}", "which links made this person"),
        (f"{run} recommend --id {profile} --limit 5", "recommendations with reasons"),
        (f"{run} identity conflicts", "what was not joined, and why"),
        (f"{run} verify", "fold everything again and compare"),
        (f"{run} serve", "gRPC on 50051, the SDKs' collector on 8080"),
        (f"{program} doctor", "what works here"),
        ("jupyter lab notebooks/", "compare and promote models (pip install jupyterlab)"),
    ):
        console.print(f"  [bold]{line}[/]", highlight=False, soft_wrap=True)
        console.print(f"      [dim]{text}[/]")
    console.print(
        f"\n{workspace.store_path}: everything above, in {seconds:.0f} s. README.md tells the rest."
    )

"""`onefold recommend`: what the service would answer."""

from pathlib import Path
from typing import Any

import click

from models.errors import FilterError
from models.filter_text import parse
from profiles.profile import history
from service.commands.lookups import lookup_options, wanted
from service.output import console, json_option, print_json, table
from service.rpc.recommending import Asked, Surface
from service.rpc.sensitive import may_see_sensitive
from service.rpc.served_models import ServedModels
from service.workspace import Workspace, pass_workspace


@click.command("recommend")
@lookup_options
@click.option("--surface", default="FOR_YOU", show_default=True,
              type=click.Choice([each.value for each in Surface], case_sensitive=False))  # fmt: skip
@click.option("--item", "items", multiple=True, help="Context items, for SIMILAR_ITEMS.")
@click.option("--limit", default=10, show_default=True)
@click.option("--exclude-bought", is_flag=True, help="Leave out what the person bought.")
@click.option(
    "--filter",
    "expression",
    metavar="FILTER",
    help="Only items that meet it: \"price < 500 AND in_stock AND category = 'Health'\".",
)
@click.option(
    "--relaxed", is_flag=True, help="Give up conditions, from the last one on, if too few do."
)
@json_option
@pass_workspace
def recommend(
    workspace: Workspace, /, surface: str, items: tuple[str, ...], limit: int, exclude_bought: bool,
    expression: str | None, relaxed: bool, as_json: bool, **identifiers: Any,
) -> None:  # fmt: skip
    """Recommend items to a person, or to nobody in particular."""
    named = any(identifiers.values())
    now_ms = workspace.now_ms()
    found = workspace.reader.get(wanted(identifiers), now_ms) if named else None
    settings = workspace.config.models
    recommending = ServedModels(
        workspace.registry, workspace.store.catalog, settings.refresh_s, rules=Path(settings.rules)
    )
    try:
        answered = recommending.recommend(
            Asked(
                surface=Surface(surface.upper()),
                history=history(found.profile) if found else (),
                context_items=items,
                exclude_bought=exclude_bought,
                filter=parse(expression) if expression else None,
                relaxed=relaxed,
                segments=lambda: workspace.segments_of(found) if found else (),
                limit=limit,
                now_ms=now_ms,
                hide_sensitive=not may_see_sensitive(found, settings.sensitive_consent),
            )
        )
    except FilterError as error:
        raise click.ClickException(f"--filter: {error}") from None
    if as_json:
        print_json(answered)
        return
    if named and found is None:
        console.print("nobody is known by that: what follows is for everybody")
    names = workspace.store.catalog.get([item.id for item in answered.items])
    for given_up in answered.given_up:
        console.print(f"given up: {given_up}", markup=False)
    rows = [
        (n, item.id, names[item.id].name if item.id in names else "", item.text)
        for n, item in enumerate(answered.items, start=1)
    ]
    console.print(table(["", "item", "name", "why"], rows) if rows else "no items")
    model = f"{answered.model} {answered.version}".strip() or "no model"
    console.print(
        f"[dim]{model}{'; fallback: ' + answered.fallback if answered.fallback else ''}[/]"
    )

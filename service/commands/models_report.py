"""`onefold models report` and `rules`: what recommendations brought, and what the shop adds to them."""

from pathlib import Path
from typing import Any

import click

from models.attribution import Line, Report, Shown, report
from models.merchandising import Merchandising
from models.rules import Rule, read_rules
from service.output import console, json_option, print_json, table, when
from service.rpc.errors import InvalidArgument
from service.rpc.item_view import ItemView
from service.rpc.paging import ATTRIBUTION, Tokens
from service.workspace import DAY_MS, Workspace, pass_workspace


@click.command("report")
@click.option("--days", default=30, show_default=True, help="Only events of the last days.")
@click.option("--by-version", is_flag=True, help="A line for each version of a model.")
@json_option
@pass_workspace
def report_command(workspace: Workspace, days: int, by_version: bool, as_json: bool) -> None:
    """Count what was seen, clicked and bought of each model's answers on each surface.

    Answers carry an attribution token; events bring it back as the property `attribution_token`, of their own
    or of each product: Recommendation Shown or Product List Viewed (seen), Product Clicked, Viewed or Added
    (clicked), Order Completed (bought).
    """
    tokens = Tokens(workspace.keys.hash_key, ATTRIBUTION)

    def opened(token: str) -> Shown | None:
        try:
            return tokens.open(token, Shown)
        except InvalidArgument:
            return None

    found = report(
        workspace.store.timeline.scan(), opened, by_version=by_version,
        since_ms=workspace.now_ms() - days * DAY_MS,
    )  # fmt: skip
    if as_json:
        print_json(found)
        return
    _show(found, days)


def _show(found: Report, days: int) -> None:
    if not found.lines:
        console.print(
            f"no event of the last {days} days carries an attribution_token: "
            "send the one of each reply along",
            soft_wrap=True,
        )
    else:
        head = ["surface", "model", "seen", "clicked", "CTR", "orders", "revenue"]
        console.print(table(head, [_row(line) for line in found.lines]))
    if found.forged:
        console.print(f"[yellow]{found.forged:,} tokens are not of this workspace[/]")
    if found.outside:
        console.print(f"{found.outside:,} events came before their answer or 30 days after it")


def _row(line: Line) -> tuple[Any, ...]:
    model = f"{line.model or 'none'} {line.version}".strip()
    share = f"{line.ctr:.1%} [{line.ctr_low:.1%}, {line.ctr_high:.1%}]"
    revenue = ", ".join(
        f"{amount:,.2f} {currency}".strip() for currency, amount in line.revenue.items()
    )
    return line.surface, model, line.shown, line.clicked, share, line.orders, revenue


@click.command("rules")
@json_option
@pass_workspace
def rules_command(workspace: Workspace, as_json: bool) -> None:
    """Check the rules that pin, promote and hide items, and show what each does now."""
    folder = Path(workspace.config.models.rules)
    rules = read_rules(folder)
    view = ItemView((), workspace.store.catalog, rules)
    view.merchandising.check()
    now_ms = workspace.now_ms()
    shown = [_rule(rule, view, now_ms) for rule in rules]
    if as_json:
        print_json({"folder": str(folder), "rules": shown})
    elif not shown:
        console.print(f"no rules in {folder}", markup=False)
    else:
        head = ["rule", "does", "items", "where", "for", "from", "until", "now"]
        console.print(table(head, [tuple(each.values()) for each in shown]))


def _rule(rule: Rule, view: ItemView, now_ms: int) -> dict[str, Any]:
    everywhere = Merchandising([rule], view.columns, view.code)
    surface = min(rule.surfaces, default="FOR_YOU")
    in_force = rule.holds(surface, rule.segments, now_ms)
    some = rule.start_ms if rule.start_ms is not None else 0
    now = everywhere.in_force(surface, lambda: rule.segments, now_ms if in_force else some)
    count = len(now.pins)
    if now.hidden is not None:
        count = int(now.hidden.sum())
    if now.favours is not None:
        count = int((now.favours.rule >= 0).sum())
    return {
        "name": rule.name,
        "action": rule.action,
        "items": count,
        "surfaces": ", ".join(sorted(rule.surfaces)) or "all",
        "segments": ", ".join(sorted(rule.segments)) or "everybody",
        "from": when(rule.start_ms) if rule.start_ms is not None else "",
        "until": when(rule.end_ms) if rule.end_ms is not None else "",
        "in_force": "yes" if in_force else "no",
    }

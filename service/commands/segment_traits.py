"""`onefold segments traits`: which traits people have, and which values are not what they are meant to be."""

from collections import Counter
from pathlib import Path
from typing import Final

import click

from ingest.segments.traits import LEAVES_MAX, Observed, survey
from service.commands.segment_pictures import counts
from service.output import console, json_option, print_json, steps_progress, table
from service.trait_files import read_traits
from service.workspace import Workspace, pass_workspace

FILE: Final = Path("traits.yaml")


@click.command("traits")
@click.option(
    "--declare-file", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Types that traits are meant to have, by name.  [default: traits.yaml if it is there]",
)  # fmt: skip
@click.option(
    "--sample", default=LEAVES_MAX, show_default=True, type=click.IntRange(0),
    help="Identifiers to look at; 0 for everybody.",
)  # fmt: skip
@json_option
@pass_workspace
def traits(workspace: Workspace, file: Path | None, sample: int, as_json: bool) -> None:
    """Show the traits of people: types, counts, and how values look that are not of the declared type."""
    declared = read_traits(file or FILE) if file or FILE.exists() else {}
    with steps_progress() as bar:
        task = bar.add_task("looking at traits", total=None)
        found = survey(
            workspace.store, declared, most=sample,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    if as_json:
        print_json(found)
        return
    if not found.traits:
        console.print("nobody has a trait yet: they come with identify calls")
        return
    columns = ["trait", "declared", "values", "types", "do not fit", "how they look"]
    console.print(table(columns, map(_row, found.traits)))
    if found.looked_at < found.of:
        console.print(f"of {found.looked_at:,} of {found.of:,} identifiers; --sample 0 for all")


def _row(trait: Observed) -> tuple[str, str, int, str, int, str]:
    return (
        trait.name, str(trait.declared or ""), trait.count, counts(trait.types), trait.misfits,
        " · ".join(shape for shape, _ in Counter(trait.shapes).most_common()),
    )  # fmt: skip

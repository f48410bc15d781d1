"""What `onefold link` says: a summary for programs, and with a picture for people. Counts, never a person."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from models.linking.blocking import PassReport
from models.linking.compare import SAME
from models.linking.fellegi_sunter import probability
from models.linking.learned import UNLABELLED, Trial
from models.linking.linking import BINS, Linked, Settings
from models.linking.output import REVIEW_MAX
from models.linking.reading import ID, IGNORE
from models.linking.records import Records
from service.output import table

BAR_CELLS: Final = 40
_MODELS: Final = {
    UNLABELLED: "Fellegi-Sunter, learned without labels",
    "logistic_regression": "logistic regression on labelled pairs",
    "gradient_boosting": "boosted trees on labelled pairs",
}


class Weighed(msgspec.Struct, frozen=True):
    """What a comparison is worth, in bits: a bit doubles the odds."""

    name: str
    same: float
    different: float


class File(msgspec.Struct, frozen=True):
    """One file, and what its columns were taken for."""

    name: str
    records: int
    columns: dict[str, str]
    not_compared: list[str]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What linking did."""

    files: list[File]
    passes: list[PassReport]
    compared: int
    model: str
    version: str
    stored: bool
    """Whether the registry has the model."""
    comparisons: list[Weighed]
    trials: list[Trial]
    accept: float
    review: float
    accepted: int
    expected_wrong: float
    """Of the accepted pairs, by their own probabilities."""
    uncertain: int
    people: int
    joined: int
    """Records that are one person with another."""
    largest: int
    histogram: list[int]
    """Pairs by probability, in equal parts of 0 … 1."""
    written: list[str] = []
    kept: int | None = None
    """Matches stored as evidence; None: not asked for."""
    seconds: float = 0.0


def summarize(linked: Linked, records: Records, settings: Settings, *, stored: bool) -> Summary:
    """The figures of a run."""
    sizes = np.bincount(linked.person, minlength=1)
    model = linked.linker.model
    chances = probability(linked.pairs.odds[linked.accepted])
    manifest = linked.linker.manifest
    return Summary(
        files=[
            File(
                sheet.name, len(sheet),
                {column: role for column, role in sheet.roles.items() if role not in (ID, IGNORE)},
                [column for column, role in sheet.roles.items() if role == IGNORE],
            )
            for sheet in records.sheets
        ],
        passes=linked.passes, compared=len(linked.pairs.left), model=manifest.model or UNLABELLED,
        version=manifest.version, stored=stored,
        comparisons=[
            Weighed(each.name, round(float(weight[SAME]), 1), round(float(weight[-1]), 1))
            for each, weight in zip(model.comparisons, (w / np.log(2) for w in model.weights()), strict=True)
        ],
        trials=manifest.trials, accept=settings.accept, review=settings.review, accepted=len(linked.accepted),
        expected_wrong=round(float((1 - chances).sum()), 2), uncertain=len(linked.uncertain),
        people=int((sizes > 0).sum()), joined=int(sizes[sizes > 1].sum()), largest=int(sizes.max()),
        histogram=linked.histogram(),
    )  # fmt: skip


def render(made: Summary) -> RenderableType:
    """The summary for people."""
    lines: list[RenderableType] = []
    for file in made.files:
        taken = ", ".join(f"{column} ({role})" for column, role in file.columns.items())
        lines.append(Text(f"{file.name}: {file.records:,} records; compared by {taken}"))
        if file.not_compared:
            lines.append(Text(f"  not compared: {', '.join(file.not_compared)}", "dim"))
    lines += ["", _passes(made.passes), "", _weights(made), ""]
    lines.append(
        Text(
            f"{made.compared:,} pairs compared, by probability that they are one person (bars: log scale)"
        )
    )
    lines += _picture(made)
    lines.append("")
    lines.append(
        Text(
            f"{made.accepted:,} pairs accepted (probability {made.accept:g} or more, about "
            f"{made.expected_wrong:,.1f} of them wrong by the model's own estimate), "
            f"{made.uncertain:,} to review, one for each two people that may be one"
        )
    )
    lines.append(
        Text(
            f"{sum(file.records for file in made.files):,} records are {made.people:,} people: {made.joined:,} "
            f"records are one with another, at most {made.largest:,} of them one person"
        )
    )
    lines.append(Text(_model(made), "dim"))
    lines += [Text(f"wrote {path}") for path in made.written]
    if made.kept is not None:
        lines.append(Text(f"{made.kept:,} matches kept as evidence"))
    return Group(*lines)


def _passes(passes: Sequence[PassReport]) -> RenderableType:
    rows = [
        (each.name, each.pairs, each.new_pairs, each.large_blocks, each.pairs_left_out)
        for each in passes
    ]
    return table(["candidates by", "pairs", "new", "blocks too large", "pairs left out"], rows)


def _weights(made: Summary) -> RenderableType:
    rows = [(each.name, f"{each.same:+.1f}", f"{each.different:+.1f}") for each in made.comparisons]
    return table(["compared", "the same, bits", "different, bits"], rows)


def _picture(made: Summary) -> list[Text]:
    most = max(made.histogram, default=0)
    lines = []
    for place, count in enumerate(made.histogram):
        low, high = place / BINS, (place + 1) / BINS
        cells = round(BAR_CELLS * float(np.log1p(count) / np.log1p(most))) if most else 0
        marks = [
            f"◂ {name} {limit:g}"
            for name, limit in (("review", made.review), ("accept", made.accept))
            if low < limit <= high or (place == 0 and limit == 0)
        ]
        bar = "█" * max(cells, min(count, 1))
        lines.append(
            Text(f"  {low:.2f} to {high:.2f} {count:>11,} {bar} {' '.join(marks)}".rstrip())
        )
    return lines


def _model(made: Summary) -> str:
    said = f"model {made.version}: {_MODELS.get(made.model, made.model)}"
    if made.trials:
        tried = ", ".join(f"{trial.model} {trial.log_loss:.3f}" for trial in made.trials)
        said += f" (log loss on labels it had not seen: {tried})"
    return said + ("" if made.stored else "; not stored")


def review_hint(made: Summary, path: str) -> str:
    """What to do with uncertain pairs."""
    some = f" (the {REVIEW_MAX:,} most probable)" if made.uncertain > REVIEW_MAX else ""
    return (
        f"{path}: {made.uncertain:,} uncertain pairs{some}; write same or different into the column decision, "
        f"then add --reviewed {path}"
    )

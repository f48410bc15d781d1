"""Every example of docs/segments.md is a definition, and together they make sense."""

import re
from pathlib import Path

import yaml

from profiles.segments.parse import parse_definition
from profiles.segments.references import check_references, sensitive
from profiles.segments.tree import ComputedTrait, Segment
from profiles.segments.write import write

PAGE = Path(__file__).parents[3] / "docs" / "segments.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_every_example_is_a_definition() -> None:
    assert len(BLOCKS) >= 10
    segments = {}
    traits = set()
    for block in BLOCKS:
        tree = yaml.safe_load(block)
        name = str(tree.get("name", "")).lower().replace(" ", "-")
        definition = parse_definition(tree, id=name)
        assert parse_definition(write(definition)) == definition
        if isinstance(definition, ComputedTrait):
            traits.add(definition.name)
        else:
            assert isinstance(definition, Segment)
            segments[definition.id] = definition
    assert not check_references(segments)
    assert traits == {"favourite_category", "orders_90d"}
    # As the page says of what names a sensitive one.
    assert sensitive(segments) == {"lapsed-diabetes-care", "at-risk-and-reachable"}

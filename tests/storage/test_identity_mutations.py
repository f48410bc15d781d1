"""The laws can fail: each deliberately broken rule is caught."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import identity.incremental
import identity.resolve
import ingest.identify
from identity.changes import Kind, changes_of
from identity.decisions import Decision
from identity.rules import Rules
from storage.sqlite import SqliteStore
from tests.identity.strategies import RULES
from tests.storage.identity_deciders import Here
from tests.storage.identity_running import WITHOUT_SHRINKING, run
from tests.workspace import KEYS

Patch = pytest.MonkeyPatch


def splits_are_forgotten(patch: Patch) -> None:
    """Both by who decides and by `resolve`, so only the law itself can tell."""
    patch.setattr(Decision, "keep_apart", lambda decision: [])
    patch.setattr(identity.resolve._Union, "_of", _without_apart)


def _without_apart(union: Any, node: Any) -> Any:
    group = union._group.get(node)
    if group is None:
        group = union._group[node] = identity.resolve._Group(node)
    return group


def one_user_id_more_is_allowed(patch: Patch) -> None:
    limits = identity.resolve.limits_of

    def looser(rules: Rules) -> dict[int, int]:
        return {code: most + 1 for code, most in limits(rules).items()}

    patch.setattr(identity.resolve, "limits_of", looser)


def a_refused_person_just_unites(patch: Patch) -> None:
    """The plain case, taken where a refusal should have everything decided again."""
    patch.setattr(identity.incremental, "may_be_one", lambda members, rules, apart: True)


def what_is_retracted_stands(patch: Patch) -> None:
    patch.setattr(Decision, "standing", property(lambda decision: True))


def splits_are_not_told(patch: Patch) -> None:
    def untold(*arguments: Any) -> list[Any]:
        return [each for each in changes_of(*arguments) if each.kind is not Kind.SPLIT]

    patch.setattr(ingest.identify, "changes_of", untold)


def devices_are_people(patch: Patch) -> None:
    patch.setattr(identity.resolve, "names_device", lambda node: False)
    patch.setattr(identity.incremental, "names_device", lambda node: False)


@pytest.mark.parametrize(
    "mutation",
    [
        splits_are_forgotten,
        one_user_id_more_is_allowed,
        a_refused_person_just_unites,
        what_is_retracted_stands,
        splits_are_not_told,
        devices_are_people,
    ],
)
def test_a_broken_rule_is_caught(
    mutation: Callable[[Patch], None], tmp_path: Path, monkeypatch: Patch
) -> None:
    store = SqliteStore(tmp_path / "onefold.sqlite", KEYS)
    mutation(monkeypatch)
    with pytest.raises(AssertionError):
        run(Here(store, RULES), steps=8_000, phases=WITHOUT_SHRINKING, always_the_same=True)
    store.close()

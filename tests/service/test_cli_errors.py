"""Every error that a command can end with is one line that says what to do, and exit status 1."""

from importlib import import_module
from pkgutil import walk_packages

import pytest

import destinations
import ingest
import models
import service
import storage
from service import cli
from service.rpc.errors import tree

ROOTS_IN = (ingest, storage, models, service, destinations)


def kinds() -> list[type[BaseException]]:
    """Every class below the roots that the command line knows, wherever in our packages it is defined."""
    for package in ROOTS_IN:
        for module in walk_packages(package.__path__, package.__name__ + "."):
            if ".pb." not in module.name:
                import_module(module.name)
    return sorted(
        {
            kind
            for root in cli.known_errors()
            if issubclass(root, Exception)
            for kind in tree(root)
            if kind.__module__.partition(".")[0]
            in {"ingest", "storage", "models", "service", "destinations"}
        },
        key=lambda kind: kind.__qualname__,
    )


def run(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli.cli, "main", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main([])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__qualname__)
def test_a_known_error_is_one_line(
    kind: type[BaseException], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(kind("n1:9042 does not answer; start it"), monkeypatch) == 1

    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "onefold: n1:9042 does not answer; start it\n")


def test_every_tree_of_ours_is_known() -> None:
    names = {kind.__name__ for kind in kinds()}

    assert names >= {
        "ConfigError", "PortTaken", "CollectorError", "SourceError", "StoreUnavailable", "Misconfigured",
        "SchemaMismatch", "KeyMismatch", "NoSuchModel",
    }  # fmt: skip


def test_no_error_of_ours_is_left_out() -> None:
    """Whatever is called an error is known; other exceptions never leave the package that raises them."""
    answered_by_the_server = {"CallError"}
    known = {kind.__qualname__ for kind in kinds()}
    ours = {
        kind.__qualname__
        for kind in tree(Exception)
        if kind.__module__.partition(".")[0]
        in {"ingest", "storage", "models", "service", "profiles", "destinations"}
        and kind.__name__.endswith("Error")
    }
    assert ours - known == answered_by_the_server


def test_a_defect_shows_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(cli.cli, "main", fail)
    with pytest.raises(KeyError):
        cli.main([])

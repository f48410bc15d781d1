"""How benchmarks speak: the machine, a table, and a line per goal that says met or short."""

import operator
import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from typing import Final

_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
}


def machine(*packages: str) -> str:
    """The machine and the versions that a figure depends on."""
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return (
        f"machine: {os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}; {versions}"
    )


def goal(what: str, measured: float, compare: str, limit: float) -> str:
    """`goal <what>: <measured> <op> <limit>: met|short`."""
    met = _COMPARE[compare](measured, limit)
    return f"goal {what}: {measured:,.4g} {compare} {limit:,.4g}: {'met' if met else 'short'}"

"""Linking models as artefacts: arrays and a manifest, checked by SHA-256. No pickle, and no value of a person.

manifest.json        what was learned from, when, the comparisons, metrics, library versions, digests
match.npy random.npy m and u of every level of every comparison, one after the other
learned.<name>.npy   the model of labelled pairs, if there is one
"""

import hashlib
import json
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np

from models.artefact import sync
from models.errors import ArtefactError
from models.linking.compare import Comparison
from models.linking.fellegi_sunter import Model, Probabilities
from models.linking.learned import BOOSTED, LOGISTIC, UNLABELLED, Learned, Trial

FORMAT: Final = 1
KIND: Final = "linking"
MANIFEST: Final = "manifest.json"
LIBRARIES: Final = ("numpy", "scipy", "scikit-learn")
_LEARNED: Final = "learned."
_ARRAYS: Final = {
    UNLABELLED: frozenset[str](),
    LOGISTIC: frozenset({"coefficients", "scale", "prior"}),
    BOOSTED: frozenset(
        {
            "coefficients",
            "left",
            "right",
            "feature",
            "threshold",
            "value",
            "starts",
            "scale",
            "prior",
        }
    ),
}


class Compared(msgspec.Struct, frozen=True):
    """One comparison of a model."""

    name: str
    column: str
    levels: tuple[str, ...]
    by_frequency: bool


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a linking model says of itself."""

    format: int = FORMAT
    kind: str = KIND
    version: str
    model: str
    """`fellegi_sunter`, or the model of labelled pairs on top of it."""
    trained_ms: int
    records: int
    candidates: int
    labels: int = 0
    comparisons: tuple[Compared, ...]
    training: list[tuple[str, int, float]] = []
    """(what pairs agree on, pairs, how many are one person), where m was learned."""
    trials: list[Trial] = []
    libraries: dict[str, str] = {}
    files: dict[str, str] = {}


class Linker(NamedTuple):
    """A linking model, ready for use."""

    manifest: Manifest
    model: Model
    learned: Learned | None


def save(folder: Path, manifest: Manifest, model: Model, learned: Learned | None) -> Linker:
    """Write a model to `folder`: whole or not at all. ArtefactError if it exists."""
    if folder.exists():
        raise ArtefactError(f"{folder}: exists already, and versions never change")
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".saving-", dir=folder.parent))
    try:
        arrays = {"match": np.concatenate(model.match), "random": np.concatenate(model.random)}
        if learned:
            arrays |= {_LEARNED + name: array for name, array in learned.arrays.items()}
        for name, array in arrays.items():
            np.save(work / f"{name}.npy", array, allow_pickle=False)
        complete = msgspec.structs.replace(
            manifest,
            model=learned.kind if learned else UNLABELLED,
            comparisons=tuple(
                Compared(each.name, each.column, each.levels, each.by_frequency)
                for each in model.comparisons
            ),
            libraries={name: version(name) for name in LIBRARIES},
            files={path.name: _digest(path) for path in sorted(work.iterdir())},
        )
        (work / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(complete), indent=2))
        for path in work.iterdir():
            sync(path)
        os.replace(work, folder)
        sync(folder.parent)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return Linker(complete, model, learned)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a model; ArtefactError if it is missing, damaged or of another kind or format."""
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
        stated = json.loads(text)
        if (stated.get("kind"), stated.get("format")) != (KIND, FORMAT):
            raise ArtefactError(f"{path}: not a linking model of format {FORMAT}")
        return msgspec.json.decode(text, type=Manifest)
    except FileNotFoundError:
        raise ArtefactError(f"{path}: missing") from None
    except OSError as error:
        raise ArtefactError(f"{path}: {error.strerror}") from None
    except (ValueError, AttributeError, RecursionError, msgspec.MsgspecError) as error:
        raise ArtefactError(f"{path}: not a manifest ({error})") from None


def load(folder: Path) -> Linker:
    """A checked model; ArtefactError names the file that is missing, changed or damaged."""
    manifest = read_manifest(folder)
    arrays = {}
    for name, digest in manifest.files.items():
        path = folder / name
        if Path(name).name != name or not name.endswith(".npy"):
            raise ArtefactError(f"{folder / MANIFEST}: {name!r} is not a file of a model")
        if not path.is_file():
            raise ArtefactError(f"{path}: missing")
        if _digest(path) != digest:
            raise ArtefactError(f"{path}: not the file that was saved (its SHA-256 differs)")
        try:
            arrays[name.removesuffix(".npy")] = np.load(path, allow_pickle=False)
        except (ValueError, OSError) as error:
            raise ArtefactError(f"{path}: {error}") from None
    every = tuple(
        Comparison(each.name, each.levels, each.column, each.by_frequency)
        for each in manifest.comparisons
    )
    try:
        model = Model(every, _levels(arrays["match"], every), _levels(arrays["random"], every))
    except (KeyError, ValueError) as error:
        raise ArtefactError(
            f"{folder}: not a model of {len(every)} comparisons ({error})"
        ) from None
    found = {
        name.removeprefix(_LEARNED): a for name, a in arrays.items() if name.startswith(_LEARNED)
    }
    if found.keys() != _ARRAYS.get(manifest.model):
        raise ArtefactError(f"{folder}: not the arrays of a model of kind {manifest.model!r}")
    return Linker(manifest, model, Learned(manifest.model, found) if found else None)


def _levels(
    flat: np.ndarray[tuple[int], np.dtype[np.float64]], every: tuple[Comparison, ...]
) -> Probabilities:
    ends = np.cumsum([0, *(len(each.levels) for each in every)])
    if flat.shape != (ends[-1],) or not (
        np.isfinite(flat).all() and (flat > 0).all() and (flat <= 1).all()
    ):
        raise ValueError("not a probability for each level")
    return tuple(np.split(flat, ends[1:-1]))


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtefactError(f"{path}: {error.strerror}") from None

"""Artefacts: what was trained, as arrays and JSON. Never a pickle; every file checked by its SHA-256.

manifest.json       format, version, window, parameters, metrics, library versions, digests
items.json          item ids by code
<model>.<name>.npy  arrays, memory-mapped when loaded, so that processes share them
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from models import zoo
from models.errors import ArtefactError
from models.evaluation import Leaderboard
from models.protocol import History, Model
from profiles.facts import Kind

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
ITEMS: Final = "items.json"
LIBRARIES: Final = ("numpy", "scipy", "implicit")
_CHUNK: Final = 1 << 20
_NAME_MAX: Final = 255
"""What file systems allow."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an artefact says of itself."""

    format: int = FORMAT
    version: str
    champion: str
    """The model that answers FOR_YOU."""
    trained_ms: int
    window_ms: tuple[int, int]
    """Of the interactions that it learned from."""
    interactions: int
    people: int
    items: int
    data_hash: str
    parameters: dict[str, dict[str, float | int | str | None]]
    leaderboard: Leaderboard | None = None
    """None: there was too little to evaluate on."""
    refusal: str = ""
    """Why it must not be promoted; empty if it may."""
    note: str = ""
    """What came of the comparison with the champion of the time."""
    libraries: dict[str, str] = {}
    files: dict[str, str] = {}
    """SHA-256 of every other file."""


class Bundle(msgspec.Struct, frozen=True):
    """A loaded artefact: every model over one list of items."""

    manifest: Manifest
    items: list[str]
    models: dict[str, Model]


def save(
    folder: Path, manifest: Manifest, items: list[str], models: Mapping[str, Model]
) -> Manifest:
    """Write an artefact to `folder`: whole or not at all. ArtefactError if it exists."""
    if folder.exists():
        raise ArtefactError(f"{folder}: exists already, and versions never change")
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".saving-", dir=folder.parent))
    try:
        (work / ITEMS).write_text(json.dumps(items, ensure_ascii=True))
        for name, model in models.items():
            for array_name, array in model.arrays().items():
                if not _held(models, model, array_name):
                    np.save(work / f"{name}.{array_name}.npy", array, allow_pickle=False)
        complete = msgspec.structs.replace(
            manifest,
            parameters={name: dict(model.parameters()) for name, model in models.items()},
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
    return complete


def _held(models: Mapping[str, Model], model: Model, array_name: str) -> bool:
    """Whether an array is that of a part of a blend which is stored as a model of its own."""
    part, _, inner = array_name.partition(".")
    return bool(inner) and any(models.get(part) is each for each in getattr(model, "parts", ()))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an artefact; ArtefactError if it is missing, damaged or newer than the code."""
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
        stated = json.loads(text).get("format")
        if stated != FORMAT:
            raise ArtefactError(f"{path}: format {stated} is not this code's {FORMAT}")
        return msgspec.json.decode(text, type=Manifest)
    except FileNotFoundError:
        raise ArtefactError(f"{path}: missing") from None
    except OSError as error:
        raise ArtefactError(f"{path}: {error.strerror}") from None
    except (ValueError, AttributeError, RecursionError, msgspec.MsgspecError) as error:
        raise ArtefactError(f"{path}: not a manifest ({error})") from None


def load(folder: Path) -> Bundle:
    """A checked artefact; ArtefactError names the file that is missing, changed or damaged."""
    manifest = read_manifest(folder)
    for name, digest in manifest.files.items():
        if Path(name).name != name or len(name) > _NAME_MAX:
            raise ArtefactError(f"{folder / MANIFEST}: {name!r} is not a file name")
        path = folder / name
        if not path.is_file():
            raise ArtefactError(f"{path}: missing")
        if _digest(path) != digest:
            raise ArtefactError(f"{path}: not the file that was saved (its SHA-256 differs)")
    items = _items(folder, manifest)
    models: dict[str, Model] = {}
    for name, parameters in manifest.parameters.items():
        try:
            made = zoo.class_of(name)
        except KeyError:
            raise ArtefactError(f"{folder / MANIFEST}: {name} is no model of this code") from None
        try:
            models[name] = made.restore(parameters, _arrays(folder, manifest, name))
            _fits(models[name], len(items))
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise ArtefactError(f"{folder}: {name} does not fit this code ({error})") from None
    if manifest.champion not in models:
        # Else FOR_YOU would answer with what is trending, and nobody would know why.
        raise ArtefactError(f"{folder / MANIFEST}: the champion {manifest.champion} is not in it")
    return Bundle(manifest, items, models)


def _items(folder: Path, manifest: Manifest) -> list[str]:
    if ITEMS not in manifest.files:
        raise ArtefactError(f"{folder / ITEMS}: missing")
    path = folder / ITEMS
    try:
        # Not msgspec: ids may hold lone surrogates, which only json reads.
        items = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"{path}: not JSON ({error})") from None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ArtefactError(f"{path}: not a list of item ids")
    if len(items) != manifest.items:
        raise ArtefactError(f"{path}: {len(items)} items, not {manifest.items}")
    if len(set(items)) != len(items):
        raise ArtefactError(f"{path}: an item is there twice")
    return items


def _fits(model: Model, items: int) -> None:
    """ValueError unless the model has one finite score for each item: arrays of another data set load too."""
    if not items:
        return
    both = np.array([Kind.BOUGHT, Kind.VIEWED], np.int8)
    probe = History(np.zeros(2, np.int32), both, np.zeros(2, np.int64), np.ones(2, np.float32), 0)
    scores = model.scores(probe)
    if scores is None or scores.shape != (items,) or not np.isfinite(scores).all():
        raise ValueError(f"not a finite score for each of {items} items")


def _arrays(folder: Path, manifest: Manifest, model: str) -> dict[str, Any]:
    """Its own, and those of its parts that are stored as models of their own, under `<part>.<name>`."""
    settings = manifest.parameters[model].get("parts")
    try:
        parts = set(json.loads(settings)) if isinstance(settings, str) else set()
    except (ValueError, TypeError, RecursionError) as error:
        raise ArtefactError(f"{folder / MANIFEST}: parts of {model}: {error}") from None
    arrays = {}
    for name in manifest.files:
        stem, _, array_name = name.removesuffix(".npy").partition(".")
        if name.endswith(".npy") and (stem == model or stem in parts):
            key = array_name if stem == model else f"{stem}.{array_name}"
            try:
                # Seen as a plain array: each slice of a np.memmap takes ten times as long.
                arrays[key] = np.asarray(np.load(folder / name, mmap_mode="r", allow_pickle=False))
            except (ValueError, OSError) as error:
                raise ArtefactError(f"{folder / name}: {error}") from None
    return arrays


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_CHUNK):
                digest.update(block)
    except OSError as error:
        raise ArtefactError(f"{path}: {error.strerror}") from None
    return digest.hexdigest()


def replace_file(path: Path, content: bytes) -> None:
    """Write a small file as a whole: whoever reads, or is cut off, sees what was there or what is."""
    descriptor, work = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(work).replace(path)
    except BaseException:
        Path(work).unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

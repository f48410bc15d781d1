"""The registry: versions in a folder, and aliases that say which of them answers."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from models.artefact import MANIFEST, Bundle, Manifest, load, read_manifest, replace_file, save
from models.errors import ArtefactError, NoSuchModel, PromotionRefused
from models.protocol import Model

CHAMPION: Final = "champion"
CANDIDATE: Final = "candidate"
ALIASES: Final = (CHAMPION, CANDIDATE)
HISTORY_MAX: Final = 50
"""Former champions that are remembered, for rolling back."""
_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")


class _Alias(msgspec.Struct):
    """Where an alias points, and where it pointed before, the newest last."""

    version: str
    before: list[str] = []
    forced: str = ""
    """Why a refused model was promoted all the same."""


class Registry:
    """Versions and aliases under one folder. Aliases are replaced as a whole, so readers see old or new."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def push(self, manifest: Manifest, items: list[str], models: Mapping[str, Model]) -> Manifest:
        """Store a new version and point `candidate` at it."""
        self._check(manifest.version)
        stored = save(self._path(manifest.version), manifest, items, models)
        self._point(CANDIDATE, _Alias(manifest.version))
        return stored

    def versions(self) -> list[Manifest]:
        """Every version that can be read, the newest first."""
        found = []
        for path in sorted((self.folder / "versions").glob(f"*/{MANIFEST}"), reverse=True):
            try:
                found.append(read_manifest(path.parent))
            except ArtefactError:
                continue
        return sorted(found, key=lambda manifest: manifest.trained_ms, reverse=True)

    def resolve(self, name: str) -> str:
        """The version that an alias, or a version's own name, means; NoSuchModel if there is none."""
        if name in ALIASES:
            alias = self._alias(name)
            if alias is None:
                raise NoSuchModel(f"no {name}: train a model and promote it")
            return alias.version
        if _VERSION.fullmatch(name) and (self._path(name) / MANIFEST).exists():
            return name
        raise NoSuchModel(f"{name}: no such version; `onefold models list` shows them")

    def alias_stamp(self, name: str) -> tuple[int, int]:
        """Changes when an alias moves: cheap enough to ask before every answer. (0, 0): no such alias."""
        try:
            about = (self.folder / name).stat()
        except FileNotFoundError:
            return (0, 0)
        return (about.st_mtime_ns, about.st_ino)

    def load(self, name: str = CHAMPION) -> Bundle:
        """The models of a version or alias, checked."""
        return load(self._path(self.resolve(name)))

    def manifest(self, name: str = CHAMPION) -> Manifest:
        """What a version or alias says of itself, without its arrays."""
        return read_manifest(self._path(self.resolve(name)))

    def promote(self, name: str, *, force: str = "") -> Manifest:
        """Make a version the champion. PromotionRefused if a baseline beats it, unless `force` says why."""
        version = self.resolve(name)
        bundle = load(self._path(version))
        if bundle.manifest.refusal and not force:
            raise PromotionRefused(f"{version}: {bundle.manifest.refusal}")
        held = self._alias(CHAMPION)
        if held is not None and held.version == version:
            return bundle.manifest
        before = [*held.before, held.version][-HISTORY_MAX:] if held else []
        self._point(CHAMPION, _Alias(version, before, force))
        return bundle.manifest

    def roll_back(self) -> Manifest:
        """Make the former champion champion again."""
        held = self._alias(CHAMPION)
        if held is None or not held.before:
            raise NoSuchModel("there is no former champion to roll back to")
        version = held.before[-1]
        manifest = load(self._path(version)).manifest
        self._point(CHAMPION, _Alias(version, held.before[:-1]))
        return manifest

    def folder_of(self, name: str) -> Path:
        """Where the files of a version or alias are; NoSuchModel if there is none."""
        return self._path(self.resolve(name))

    def _path(self, version: str) -> Path:
        return self.folder / "versions" / version

    def _check(self, version: str) -> None:
        if not _VERSION.fullmatch(version) or version in ALIASES:
            raise NoSuchModel(f"{version!r} cannot name a version")

    def _alias(self, name: str) -> _Alias | None:
        path = self.folder / name
        try:
            alias = msgspec.json.decode(path.read_bytes(), type=_Alias)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ArtefactError(f"{path}: {error.strerror}") from None
        except (msgspec.MsgspecError, ValueError) as error:  # ValueError: not UTF-8
            raise ArtefactError(f"{path}: not an alias ({error})") from None
        for version in (alias.version, *alias.before):
            if not _VERSION.fullmatch(version):
                raise ArtefactError(f"{path}: {version!r} cannot name a version")
        return alias

    def _point(self, name: str, alias: _Alias) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_file(self.folder / name, msgspec.json.encode(alias))

"""The registry of linking models: versions and aliases, in a folder of their own beside the recommenders'."""

from pathlib import Path
from typing import Final

from models.errors import NoSuchModel
from models.linking.artefact import Linker, Manifest, load, read_manifest, save
from models.registry import CANDIDATE, CHAMPION, Registry, _Alias

FOLDER: Final = "linking"


class LinkingRegistry:
    """Versions and aliases under one folder, as `models.registry.Registry` keeps them."""

    def __init__(self, registry: Path) -> None:
        self._aliases = Registry(registry / FOLDER)

    def push(self, linker: Linker) -> Linker:
        """Store a new version and point `candidate` at it."""
        name = linker.manifest.version
        self._aliases._check(name)
        stored = save(self._aliases._path(name), linker.manifest, linker.model, linker.learned)
        self._aliases._point(CANDIDATE, _Alias(name))
        return stored

    def load(self, name: str) -> Linker:
        """The model of a version or alias, checked. NoSuchModel or ArtefactError."""
        try:
            return load(self._aliases._path(self._aliases.resolve(name)))
        except NoSuchModel:
            raise NoSuchModel(f"{name}: no such linking model in {self._aliases.folder}") from None

    def promote(self, name: str) -> Manifest:
        """Make a version the champion."""
        version = self._aliases.resolve(name)
        manifest = read_manifest(self._aliases._path(version))
        held = self._aliases._alias(CHAMPION)
        before = [*held.before, held.version] if held and held.version != version else []
        self._aliases._point(CHAMPION, _Alias(version, before))
        return manifest

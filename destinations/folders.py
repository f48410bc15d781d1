"""Where files are put: a folder, object storage (fsspec) or sFTP. A file is there whole or not at all."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from destinations.errors import (
    DestinationError,
    NotInstalled,
    TargetRefused,
    TargetUnavailable,
)
from destinations.staged import disk_errors

PART: Final = ".part"
"""What a file is called while it is copied; nobody reads such names."""
EXTRAS: Final = {"s3": "s3", "s3a": "s3", "sftp": "sftp"}


class Folder(Protocol):
    """A folder and those below it; names are relative, with `/` between."""

    @property
    def place(self) -> str:
        """Where it is, for people; no secrets."""

    def names(self, below: str) -> set[str]:
        """Names of the files in the folder `below`; none if it is not there."""

    def put(self, file: Path, name: str) -> None:
        """Copy a file there, in the place of one of that name, and make it durable."""

    def touch(self, name: str) -> None:
        """Make an empty file."""

    def remove(self, name: str) -> None:
        """Remove a file that is there."""

    def close(self) -> None:
        """Let go of connections."""


def open_folder(url: str, options: Mapping[str, Any] | None = None) -> Folder:
    """The folder at `url`: a path, `sftp://user@host/path`, `s3://bucket/path`, or another of fsspec's."""
    scheme = urlsplit(url).scheme
    if scheme in ("", "file", "local"):
        return LocalFolder(Path(url.removeprefix("file://").removeprefix("local://")))
    if scheme == "sftp":
        from destinations.sftp import SftpFolder

        return SftpFolder(url, options or {})
    return ObjectFolder(url, options or {})


class LocalFolder:
    """`Folder` on this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def place(self) -> str:
        """See `Folder`."""
        return str(self._root)

    def names(self, below: str) -> set[str]:
        """See `Folder`."""
        folder = self._root / below
        with disk_errors(folder):
            return {each.name for each in folder.iterdir()} if folder.is_dir() else set()

    def put(self, file: Path, name: str) -> None:
        """See `Folder`."""
        target = self._root / name
        part = target.with_name(target.name + PART)
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with file.open("rb") as source, part.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
            part.replace(target)
            _sync(target.parent)

    def touch(self, name: str) -> None:
        """See `Folder`."""
        target = self._root / name
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
            _sync(target.parent)

    def remove(self, name: str) -> None:
        """See `Folder`."""
        target = self._root / name
        with disk_errors(target):
            target.unlink(missing_ok=True)
            _sync(target.parent)

    def close(self) -> None:
        """See `Folder`."""


class ObjectFolder:
    """`Folder` in object storage, where an object is there when all of it is."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        import fsspec

        self._url = url.rstrip("/")
        self._scheme = urlsplit(url).scheme
        try:
            # Listings that are remembered would hide what somebody else put there.
            self._files = fsspec.filesystem(self._scheme, use_listings_cache=False, **options)
        except ImportError as error:
            raise not_installed(self._scheme) from error
        except ValueError as error:
            raise TargetRefused(f"{self.place}: {error}") from error

    @property
    def place(self) -> str:
        """See `Folder`."""
        return self._url

    def names(self, below: str) -> set[str]:
        """See `Folder`."""
        with self._errors():
            try:
                found = self._files.ls(self._at(below), detail=False, refresh=True)
            except FileNotFoundError:
                return set()
            return {PurePosixPath(each).name for each in found}

    def put(self, file: Path, name: str) -> None:
        """See `Folder`."""
        with self._errors():
            self._files.put_file(str(file), self._at(name))

    def touch(self, name: str) -> None:
        """See `Folder`."""
        with self._errors():
            self._files.pipe_file(self._at(name), b"")

    def remove(self, name: str) -> None:
        """See `Folder`."""
        with self._errors():
            self._files.rm_file(self._at(name))

    def close(self) -> None:
        """See `Folder`."""

    def _at(self, name: str) -> str:
        return f"{self._url}/{name}".rstrip("/")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except DestinationError:
            raise
        except PermissionError as error:
            raise TargetRefused(f"{self.place}: permission denied: {error}") from error
        except Exception as error:
            # Every driver has its own tree of errors; that of credentials is known by its name.
            what = f"{self.place}: {type(error).__name__}: {error}"
            if "Credentials" in type(error).__name__:
                raise TargetRefused(what) from error
            raise TargetUnavailable(what) from error


def not_installed(scheme: str) -> NotInstalled:
    """What to install for a scheme."""
    extra = EXTRAS.get(scheme)
    hint = f"pip install 'onefold[{extra}]'" if extra else f"install fsspec's driver of {scheme}"
    return NotInstalled(f"{scheme}:// needs a library: {hint}")


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

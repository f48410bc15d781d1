"""sFTP by paramiko: only to a host whose key is known, since who answers reads what is sent."""

import posixpath
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from destinations.errors import TargetRefused, TargetUnavailable
from destinations.folders import PART, not_installed

PORT: Final = 22
TIMEOUT_S: Final = 30.0


class SftpFolder:
    """`destinations.folders.Folder` on an sFTP server. Options: password, private_key, known_hosts."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        parts = urlsplit(url)
        if not parts.hostname or not parts.username:
            raise TargetRefused("sftp: the target is sftp://user@host[:port]/folder")
        self._host, self._port = parts.hostname, parts.port or PORT
        self._user = unquote(parts.username)
        self._root = parts.path.rstrip("/") or "."
        self._options = options
        self._client: Any = None
        self._sftp: Any = None

    @property
    def place(self) -> str:
        """See `Folder`."""
        return f"sftp://{self._host}:{self._port}{self._root}"

    def names(self, below: str) -> set[str]:
        """See `Folder`."""
        with self._errors():
            try:
                return set(self._opened().listdir(self._at(below)))
            except FileNotFoundError:
                return set()

    def put(self, file: Path, name: str) -> None:
        """See `Folder`."""
        with self._errors():
            sftp = self._opened()
            self._make_folders(name)
            # It compares the size in the end.
            sftp.put(str(file), self._at(name) + PART)
            self._rename(self._at(name) + PART, self._at(name))

    def touch(self, name: str) -> None:
        """See `Folder`."""
        with self._errors():
            self._make_folders(name)
            self._opened().open(self._at(name), "w").close()

    def remove(self, name: str) -> None:
        """See `Folder`."""
        with self._errors():
            self._opened().remove(self._at(name))

    def close(self) -> None:
        """See `Folder`."""
        if self._client is not None:
            self._client.close()
            self._client = self._sftp = None

    def _at(self, name: str) -> str:
        return posixpath.join(self._root, name) if name else self._root

    def _rename(self, before: str, after: str) -> None:
        try:
            self._opened().posix_rename(before, after)
        except OSError:
            # Servers that know only the standard's rename refuse to put one file in another's place.
            if posixpath.basename(after) in self._opened().listdir(posixpath.dirname(after)):
                self._opened().remove(after)
            self._opened().rename(before, after)

    def _make_folders(self, name: str) -> None:
        sftp, missing = self._opened(), []
        at = posixpath.dirname(self._at(name))
        while at not in ("", "/", "."):
            try:
                if stat.S_ISDIR(sftp.stat(at).st_mode or 0):
                    break
            except FileNotFoundError:
                missing.append(at)
            at = posixpath.dirname(at)
        for folder in reversed(missing):
            sftp.mkdir(folder)

    def _opened(self) -> Any:
        if self._sftp is None:
            try:
                import paramiko
            except ImportError as error:
                raise not_installed("sftp") from error
            client = paramiko.SSHClient()
            if hosts := self._options.get("known_hosts"):
                client.load_host_keys(hosts)
            else:
                client.load_system_host_keys()
            client.set_missing_host_key_policy(paramiko.RejectPolicy())
            self._client = client
            client.connect(
                self._host, self._port, self._user, self._options.get("password"),
                key_filename=self._options.get("private_key"), timeout=TIMEOUT_S, banner_timeout=TIMEOUT_S,
                auth_timeout=TIMEOUT_S, allow_agent=False, look_for_keys=False,
            )  # fmt: skip
            self._sftp = client.open_sftp()
            self._sftp.get_channel().settimeout(TIMEOUT_S)
        return self._sftp

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.close()
            raise TargetUnavailable(
                f"{self.place}: {error.strerror or str(error) or type(error).__name__}"
            ) from error
        except Exception as error:
            self.close()
            name = type(error).__name__
            if name in (
                "AuthenticationException",
                "BadAuthenticationType",
                "PasswordRequiredException",
            ):
                raise TargetRefused(f"{self.place}: login refused for this user") from error
            if name == "BadHostKeyException" or "not found in known_hosts" in str(error):
                raise TargetRefused(
                    f"{self.place}: the server's key is not the one in known_hosts; add it there if it is right"
                ) from error
            if name in ("SSHException", "EOFError"):
                raise TargetUnavailable(f"{self.place}: {error or name}") from error
            raise

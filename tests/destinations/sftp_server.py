"""A real sFTP server on loopback: a folder of this machine, for one user."""

from __future__ import annotations

import io
import os
import socket
import threading
from pathlib import Path
from typing import Any

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


class _Login(paramiko.ServerInterface):  # type: ignore[misc]  # it has no types
    def check_auth_password(self, username: str, password: str) -> int:
        right = (username, password) == ("onefold", "open sesame")
        return int(paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)

    def get_allowed_auths(self, username: str) -> str:
        return "password"


class _Handle(paramiko.SFTPHandle):  # type: ignore[misc]
    def stat(self) -> Any:
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))


class _Files(paramiko.SFTPServerInterface):  # type: ignore[misc]
    """A folder of this machine over sFTP; `plain`: without OpenSSH's rename."""

    root = Path()
    plain = False

    def _at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def list_folder(self, path: str) -> Any:
        try:
            return [
                paramiko.SFTPAttributes.from_stat(each.stat(), each.name)
                for each in self._at(path).iterdir()
            ]
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    def stat(self, path: str) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat(self._at(path).stat())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    lstat = stat

    def open(self, path: str, flags: int, attr: Any) -> Any:
        try:
            file = os.fdopen(os.open(self._at(path), flags, 0o644), "wb")
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        handle = _Handle(flags)
        handle.filename = str(self._at(path))
        handle.readfile = handle.writefile = file
        return handle

    def _do(self, what: Any, *arguments: Any) -> int:
        try:
            what(*arguments)
        except OSError as error:
            return int(paramiko.SFTPServer.convert_errno(error.errno or 0))
        return int(paramiko.SFTP_OK)

    def remove(self, path: str) -> int:
        return self._do(self._at(path).unlink)

    def mkdir(self, path: str, attr: Any) -> int:
        return self._do(self._at(path).mkdir)

    def rename(self, oldpath: str, newpath: str) -> int:
        if self._at(newpath).exists():
            return int(paramiko.SFTP_FAILURE)
        return self._do(self._at(oldpath).rename, self._at(newpath))

    def posix_rename(self, oldpath: str, newpath: str) -> int:
        if self.plain:
            return int(paramiko.SFTP_OP_UNSUPPORTED)
        return self._do(self._at(oldpath).replace, self._at(newpath))


class SftpServer:
    """A real sFTP server on loopback."""

    def __init__(self, root: Path, *, plain: bool = False) -> None:
        self.files = type("Files", (_Files,), {"root": root, "plain": plain})
        self.key = paramiko.Ed25519Key.from_private_key(io.StringIO(_HOST_KEY))
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self._transports: list[paramiko.Transport] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            self._transports.append(transport)
            transport.add_server_key(self.key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, self.files)
            try:
                transport.start_server(server=_Login())
            except (paramiko.SSHException, EOFError, OSError):
                transport.close()

    def known_hosts(self, folder: Path) -> Path:
        path = folder / "known_hosts"
        path.write_text(f"[127.0.0.1]:{self.port} ssh-ed25519 {self.key.get_base64()}\n")
        return path

    def close(self) -> None:
        self.socket.close()
        for transport in self._transports:
            transport.close()


def _host_key() -> str:
    made = Ed25519PrivateKey.generate()
    return made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


_HOST_KEY = _host_key()

"""The data directory of `realtime dev`: its lock, and the passwords and ports that survive a run.

`realtime dev` and each embedded server use it; each server has its own subdirectory. Starts no process.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from realtime.dev.errors import DirectoryInUse

HOST = "127.0.0.1"
SECRET_BYTES = 32
NOBODY = 65534


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Lock the directory until the block or the process ends; create it if it does not exist.

    Raises `DirectoryInUse`.
    """
    directory = create(directory)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DirectoryInUse(directory, int(lock.read().strip() or 0) or None) from None
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def create(directory: Path) -> Path:
    """Create the directory for our user only, and return its full path.

    If we are root, other users may enter the directory, since the servers do not run as root.
    """
    directory.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
    return directory.resolve()


def create_part(part: Path) -> None:
    """Create a server's own directory. Root gives it to `nobody`, since a server runs as its owner."""
    part.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0 and part.stat().st_uid == 0:
        uid, gid = _nobody()
        for path in (part, *part.rglob("*")):
            os.chown(path, uid, gid, follow_symlinks=False)


def write_private(path: Path, text: str) -> None:
    """Write a file atomically; only root and the owner of its directory may read it."""
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(draft, owner.st_uid, owner.st_gid)
    draft.replace(path)


def secret(directory: Path, name: str) -> str:
    """Read the secret of that name; the first call creates one that needs no encoding in a URL."""
    path = directory / name
    if not path.exists():
        write_private(path, secrets.token_urlsafe(SECRET_BYTES))
    return path.read_text()


def kept_port(directory: Path, name: str, wanted: int) -> int:
    """Return the wanted port; for 0, the port of the last run if it is free, else any free port."""
    path = directory / name
    saved = path.read_text() if path.exists() else ""
    port = wanted or (_free_port(int(saved)) if saved.isdecimal() else None) or free_port()
    write_private(path, str(port))
    return port


def is_free(port: int) -> bool:
    """Whether no process listens on this port of the loopback address."""
    return _free_port(port) is not None


def free_port() -> int:
    """Return a port of the loopback address on which no process listens now."""
    port = _free_port(0)
    assert port is not None, "the system refuses to choose a port"
    return port


def _free_port(port: int) -> int | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):  # in use, or not a port number
            return None
        return int(probe.getsockname()[1])


def _nobody() -> tuple[int, int]:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return NOBODY, NOBODY
    return entry.pw_uid, entry.pw_gid

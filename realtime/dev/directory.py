"""The data directory of `realtime dev`: who uses it, and the passwords and ports that outlive a run.

Called by `dev` and by each embedded server, which has a part of its own in it. Never starts anything.
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
    """Hold the directory, created if need be, until the end of the block or of the process.

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
    """Make the directory ours alone, and return its full path.

    Root lets the servers, which do not run as root, pass through.
    """
    directory.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
    return directory.resolve()


def create_part(part: Path) -> None:
    """Make a server's own directory. Root gives it away, since a server runs as who owns its part."""
    part.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0 and part.stat().st_uid == 0:
        uid, gid = _nobody()
        for path in (part, *part.rglob("*")):
            os.chown(path, uid, gid, follow_symlinks=False)


def write_private(path: Path, text: str) -> None:
    """Write a file that only the owner of its directory, and root, may read. Whole or not at all."""
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(draft, owner.st_uid, owner.st_gid)
    draft.replace(path)


def secret(directory: Path, name: str) -> str:
    """Read the secret of that name; the first time, make one that is safe in a URL."""
    path = directory / name
    if not path.exists():
        write_private(path, secrets.token_urlsafe(SECRET_BYTES))
    return path.read_text()


def kept_port(directory: Path, name: str, wanted: int) -> int:
    """Return the wanted port; for 0 the one of the last run if it is free, else any that is."""
    path = directory / name
    saved = path.read_text() if path.exists() else ""
    port = wanted or (_free_port(int(saved)) if saved.isdecimal() else None) or free_port()
    write_private(path, str(port))
    return port


def is_free(port: int) -> bool:
    """Tell whether nobody listens on this port of the loopback address."""
    return _free_port(port) is not None


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on now."""
    port = _free_port(0)
    assert port is not None, "the system refuses to choose a port"
    return port


def _free_port(port: int) -> int | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):  # taken, or no port at all
            return None
        return int(probe.getsockname()[1])


def _nobody() -> tuple[int, int]:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return NOBODY, NOBODY
    return entry.pw_uid, entry.pw_gid

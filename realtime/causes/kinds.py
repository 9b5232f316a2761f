"""The causes of an outage, in the words that operators read. Imports nothing of this service."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

MAX_DETAIL = 200  # characters of what a server said


class Cause(StrEnum):
    """Why a server cannot be used; `docs/operations.md` has a row for each cause."""

    UNKNOWN_HOST = "the host name is not known"
    REFUSED = "the connection was refused"
    UNREACHABLE = "the host or its network cannot be reached"
    TIMEOUT = "no answer in time"
    NO_SOCKET = "there is no such socket"
    FORBIDDEN = "this machine does not let us connect"
    CLOSED = "it closed the connection before it answered: it wants TLS, or is another kind of server"
    CLOSED_TLS = "it closed the connection before it answered: it wants a client's certificate, or no TLS"
    LOST = "the connection was lost"
    NO_TLS = "it did not agree to TLS: it speaks none, or is another kind of server"
    UNTRUSTED = "its certificate is not trusted"
    EXPIRED = "its certificate is not valid at this time"
    OTHER_HOST = "its certificate is for another host"
    CLIENT_CERTIFICATE = "it wants a client's certificate, or does not trust the one that it got"
    TLS = "TLS failed"
    PASSWORD = "user or password is wrong"  # noqa: S105
    NO_PASSWORD = "it wants a password, and was given none"  # noqa: S105
    LOGIN = "it does not let this user in"
    NO_DATABASE = "there is no such database"
    RIGHT = "a right is missing"
    FULL = "it has too many connections"
    NOT_NOW = "it is starting, stopping or loading"
    READ_ONLY = "it is read-only, or a replica"
    MEMORY = "it has no memory left"
    DISK = "it cannot write to its disk"
    REDIS_SETUP = "it is set up in another way than redis_url says"
    INCOMPLETE = "a part of the cluster is away"
    PROTOCOL = "it is another kind of server"
    PARAMETER = "it refused a parameter"
    OTHER = "it failed"


class Finding(NamedTuple):
    """A cause, and what the server said about it."""

    cause: Cause
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.cause} ({self.detail})" if self.detail else str(self.cause)


def quoted(message: str) -> str:
    """Return a server's message as one short line."""
    line = "".join(character if character.isprintable() else " " for character in message[:MAX_DETAIL])
    return " ".join(line.split()).strip(".")

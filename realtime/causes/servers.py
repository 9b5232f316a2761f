"""Causes from errors of Postgres, Redis and their drivers.

Errors are recognized by their data (SQLSTATE, the first word of Redis' message) and by the names of their
classes, so no driver is imported. A text is quoted only if it is known to contain no password.
"""

from __future__ import annotations

import re

from realtime.causes.kinds import Cause, Finding, quoted

_SQLSTATE = {
    "28P01": Cause.PASSWORD,
    "28000": Cause.LOGIN,
    "3D000": Cause.NO_DATABASE,
    "42501": Cause.RIGHT,
    "53300": Cause.FULL,
    "53200": Cause.MEMORY,
    "53100": Cause.DISK,
    "58030": Cause.DISK,
    "57P03": Cause.NOT_NOW,
    "57P02": Cause.NOT_NOW,
    "57P01": Cause.NOT_NOW,
    "55000": Cause.NOT_NOW,
    "25006": Cause.READ_ONLY,
    "42704": Cause.PARAMETER,
    "42601": Cause.PARAMETER,
    "22023": Cause.PARAMETER,
    "08P01": Cause.PARAMETER,
}
_CLOSED = ("08000", "08003", "08006", "08001")  # asyncpg also uses these for a broken connection


def by_sqlstate(sqlstate: str, name: str, message: str) -> Finding:
    if sqlstate in _CLOSED:
        return Finding(Cause.LOST)
    if (cause := _SQLSTATE.get(sqlstate)) is not None:
        return Finding(cause, quoted(message))
    # The message of a data error (class 22 or 23) may quote the data.
    message_shown = name if sqlstate.startswith(("22", "23")) else quoted(message)
    return Finding(Cause.OTHER, f"SQLSTATE {sqlstate}: {message_shown}")


def by_driver(names: set[str], message: str) -> Finding | None:
    """Return the cause of asyncpg's own errors; their other texts may quote a statement's arguments."""
    if "TargetServerAttributeNotMatched" in names:
        return Finding(Cause.READ_ONLY, "not what target_session_attrs asks for")
    if "InternalClientError" in names or "InterfaceError" in names:
        if "authentication" in message:
            return Finding(Cause.LOGIN, quoted(message))
        if "unexpected" in message or "protocol" in message:
            return Finding(Cause.PROTOCOL)
        return Finding(Cause.LOST if "closed" in message else Cause.OTHER, "")
    return None


# Redis

_REDIS = {
    "WRONGPASS": Cause.PASSWORD,
    "NOPERM": Cause.RIGHT,
    "LOADING": Cause.NOT_NOW,
    "BUSY": Cause.NOT_NOW,
    "READONLY": Cause.READ_ONLY,
    "NOREPLICAS": Cause.READ_ONLY,
    "MASTERDOWN": Cause.READ_ONLY,
    "OOM": Cause.MEMORY,
    "MISCONF": Cause.DISK,
    "CLUSTERDOWN": Cause.INCOMPLETE,
    "TRYAGAIN": Cause.INCOMPLETE,
    "MOVED": Cause.REDIS_SETUP,
    "ASK": Cause.INCOMPLETE,
    "CROSSSLOT": Cause.REDIS_SETUP,
}
_REDIS_SAYS = {
    "DB index is out of range": Cause.NO_DATABASE,
    "No such master with that name": Cause.REDIS_SETUP,
    "cluster support disabled": Cause.REDIS_SETUP,
    "unknown command": Cause.REDIS_SETUP,
    "max number of clients reached": Cause.FULL,
    "max number of clients + cluster": Cause.FULL,
    "without any password configured": Cause.PASSWORD,
    "invalid password": Cause.PASSWORD,
    "invalid username-password": Cause.PASSWORD,
    "running in protected mode": Cause.LOGIN,
}
# Redis quotes the arguments of an unknown command, and these may contain a password.
_ARGUMENTS = re.compile(r",? with args beginning with.*", re.DOTALL)


def by_redis(names: set[str], error: BaseException) -> Finding:
    if "InvalidResponse" in names:
        return Finding(Cause.PROTOCOL)
    if "MaxConnectionsError" in names:
        return Finding(Cause.OTHER, "all connections of this process are in use")
    message = _ARGUMENTS.sub("", str(error))
    word = getattr(error, "status_code", None)
    if word is None:  # redis-py leaves a word that it does not know in the message
        word = message.partition(" ")[0]
    elif word != "ERR":
        message = f"{word} {message}"
    if word == "NOAUTH":
        return Finding(Cause.NO_PASSWORD, word)
    for words, cause in _REDIS_SAYS.items():
        if words in message:
            return Finding(cause, quoted(message))
    if (known := _REDIS.get(word)) is not None:
        return Finding(known, quoted(message))
    if "ResponseError" in names:
        return Finding(Cause.OTHER, quoted(message))
    return Finding(Cause.LOST if "ConnectionError" in names else Cause.OTHER, "")

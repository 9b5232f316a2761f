"""Why a server cannot be reached: a sentence for operators, with host, port and cause, without a secret.

The Redis and Postgres clients build the sentence. Logs, `/readyz` of the internal port and the command line
show it; a client of the service never sees it.
"""

from __future__ import annotations

import ssl
from enum import Enum
from typing import TypeVar

from realtime.causes.kinds import Cause, Finding
from realtime.causes.network import by_errno, by_tls
from realtime.causes.servers import by_driver, by_redis, by_sqlstate
from realtime.errors import ClientError, RealtimeError, StatementFailed, Unavailable

MAX_CHAIN = 10  # longest chain of errors raised from each other
SHOWN_CAUSES = 8  # of the errors in one group
EAI_AGAIN = -3  # error number of `getaddrinfo` in glibc and musl

ErrorT = TypeVar("ErrorT", bound=BaseException)


class Phase(Enum):
    """In which phase of a connection an error occurred."""

    IN_USE = "of a connection in use"
    CONNECTING = "before the server had answered anything"
    CONNECTING_BY_TLS = "likewise, where TLS is a must"


def server_name(host: str, port: int) -> str:
    """Return host and port as people write them; for a directory, the path of Postgres' Unix socket in it."""
    if host.startswith("/"):
        return f"{host}/.s.PGSQL.{port}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def at(error: ErrorT, server: object, phase: Phase = Phase.IN_USE) -> ErrorT:
    """Note on an error which server it came from and in which phase; return the error.

    An existing note is kept: the code closest to the failure knew it best.
    """
    vars(error).setdefault("realtime_note", (str(server), phase))
    return error


def why(error: BaseException, server: object = "", phase: Phase = Phase.IN_USE) -> str:
    """Return the sentence for an error; `server` and `phase` are used if the error has no note.

    A group of errors gives a sentence for each error; equal sentences appear once.
    """
    if isinstance(error, BaseExceptionGroup):
        sentences = dict.fromkeys(why(one, server, phase) for one in error.exceptions)
        return "; ".join([*sentences][:SHOWN_CAUSES])
    if isinstance(error, Unavailable):
        return error.reason or error.message
    if isinstance(error, RealtimeError) and not isinstance(error, StatementFailed):
        return str(error) if type(error) is ClientError else f"{type(error).__name__}: {error}"
    chain = _chain(error)
    notes = [vars(one)["realtime_note"] for one in chain if "realtime_note" in vars(one)]
    where, when = notes[0] if notes else (str(server), phase)
    finding = _find(chain, when)
    return f"{where}: {finding}" if where else str(finding)


def _chain(error: BaseException) -> list[BaseException]:
    """Return the error and the errors that it was raised from, the outermost first."""
    found: list[BaseException] = []
    now: BaseException | None = error
    while now is not None and len(found) < MAX_CHAIN:
        found.append(now)
        now = now.__cause__ or (None if now.__suppress_context__ else now.__context__)
    return found


def _find(chain: list[BaseException], phase: Phase) -> Finding:
    """Return the finding of the outermost error whose cause is specific."""
    findings = [finding for error in chain if (finding := judge(error)) is not None]
    vague = (Cause.LOST, Cause.OTHER)
    found = next((one for one in findings if one.cause not in vague), None)
    found = found or next(iter(findings), Finding(Cause.OTHER, type(chain[0]).__name__))
    if found.cause is Cause.LOST and phase is not Phase.IN_USE:
        return Finding(Cause.CLOSED if phase is Phase.CONNECTING else Cause.CLOSED_TLS)
    return found


def judge(error: BaseException) -> Finding | None:
    sqlstate = getattr(error, "sqlstate", None)
    if isinstance(sqlstate, str):
        # Without DETAIL, which may quote data of a row.
        return by_sqlstate(sqlstate, type(error).__name__, str(error.args[0] if error.args else ""))
    if isinstance(error, ssl.SSLError):
        return by_tls(error)
    names = {kind.__name__ for kind in type(error).__mro__}
    if "gaierror" in names:
        is_away = getattr(error, "errno", None) == EAI_AGAIN
        return Finding(Cause.UNKNOWN_HOST, "no name server answers" if is_away else "")
    if "TimeoutError" in names:
        return Finding(Cause.TIMEOUT)
    if isinstance(error, OSError):
        return by_errno(error)
    if "RedisError" in names:
        return by_redis(names, error)
    return by_driver(names, str(error))

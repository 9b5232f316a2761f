"""What operators are told of an error: the cause in fixed words, and nothing that may be a secret.

Errors are made here as drivers raise them; `test_database_causes` and `test_redis_causes` have real servers.
"""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Any

import asyncpg
import pytest
from redis import exceptions as redis
from redis._parsers.base import BaseParser

from realtime.causes.kinds import MAX_DETAIL, Cause
from realtime.causes.sentence import SHOWN_CAUSES, Phase, at, why
from realtime.errors import Unavailable
from realtime.postgres.migrations import TooNew
from tests.docs_fixture import table

SECRET = "s3same-and-more"


def postgres(sqlstate: str, message: str, **more: str) -> BaseException:
    fields = {"C": sqlstate, "M": message, **more}
    return asyncpg.PostgresError.new(fields)


def answer(text: str) -> Exception:
    """What redis-py makes of an error that Redis answers."""
    error = BaseParser.parse_error(text)
    assert isinstance(error, Exception)
    return error


def raised_from(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def untrusted(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"certificate verify failed: {message} (_ssl.c:1000)")
    error.verify_code, error.verify_message = code, message
    return error


def tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] {reason.lower()} (_ssl.c:1000)")
    error.reason = reason
    return error


NOT_KNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
FROM_SERVERS: list[tuple[BaseException, Cause]] = [
    (NOT_KNOWN, Cause.UNKNOWN_HOST),
    (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), Cause.UNKNOWN_HOST),
    (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), Cause.REFUSED),
    (OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 111] …"), Cause.REFUSED),
    (OSError(errno.EHOSTUNREACH, "No route to host"), Cause.UNREACHABLE),
    (OSError(errno.ENETUNREACH, "Network is unreachable"), Cause.UNREACHABLE),
    (TimeoutError(), Cause.TIMEOUT),
    (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), Cause.TIMEOUT),
    (redis.TimeoutError("Timeout connecting to server"), Cause.TIMEOUT),
    (FileNotFoundError(errno.ENOENT, "No such file or directory"), Cause.NO_SOCKET),
    (PermissionError(errno.EACCES, "Permission denied"), Cause.FORBIDDEN),
    (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), Cause.LOST),
    (redis.ConnectionError("Connection closed by server."), Cause.LOST),
    (asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"), Cause.LOST),
    (asyncpg.InterfaceError("the underlying connection is closed"), Cause.LOST),
    (ConnectionError('PostgreSQL server at "db:5432" rejected SSL upgrade'), Cause.NO_TLS),
    (ConnectionAbortedError("SSL handshake is taking longer than 4.0 seconds: aborting"), Cause.NO_TLS),
    (tls("WRONG_VERSION_NUMBER"), Cause.NO_TLS),
    (tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"), Cause.CLIENT_CERTIFICATE),
    (tls("TLSV1_ALERT_UNKNOWN_CA"), Cause.CLIENT_CERTIFICATE),
    (tls("UNSUPPORTED_PROTOCOL"), Cause.TLS),
    (untrusted(18, "self-signed certificate"), Cause.UNTRUSTED),
    (untrusted(20, "unable to get local issuer certificate"), Cause.UNTRUSTED),
    (untrusted(10, "certificate has expired"), Cause.EXPIRED),
    (untrusted(9, "certificate is not yet valid"), Cause.EXPIRED),
    (untrusted(62, "Hostname mismatch, certificate is not valid for 'db'"), Cause.OTHER_HOST),
    (untrusted(64, "IP address mismatch, certificate is not valid for '10.0.0.1'"), Cause.OTHER_HOST),
    (postgres("28P01", 'password authentication failed for user "app"'), Cause.PASSWORD),
    (postgres("28000", 'no pg_hba.conf entry for host "10.0.0.1", no encryption'), Cause.LOGIN),
    (postgres("3D000", 'database "shop" does not exist'), Cause.NO_DATABASE),
    (postgres("42501", 'permission denied for database "shop"'), Cause.RIGHT),
    (postgres("53300", "sorry, too many clients already"), Cause.FULL),
    (postgres("57P03", "the database system is starting up"), Cause.NOT_NOW),
    (postgres("57P01", "terminating connection due to administrator command"), Cause.NOT_NOW),
    (postgres("55000", 'database "shop" is not currently accepting connections'), Cause.NOT_NOW),
    (postgres("25006", "cannot execute INSERT in a read-only transaction"), Cause.READ_ONLY),
    (postgres("53200", "out of memory"), Cause.MEMORY),
    (postgres("53100", "could not extend file: No space left on device"), Cause.DISK),
    (postgres("42704", 'unrecognized configuration parameter "nosuch"'), Cause.PARAMETER),
    (postgres("08P01", "unsupported startup parameter: options"), Cause.PARAMETER),
    (postgres("XX000", "Tenant or user not found"), Cause.OTHER),
    (answer("WRONGPASS invalid username-password pair or user is disabled."), Cause.PASSWORD),
    (answer("ERR invalid password"), Cause.PASSWORD),
    (
        answer("ERR AUTH <password> called without any password configured for the default user."),
        Cause.PASSWORD,
    ),
    (answer("NOAUTH Authentication required."), Cause.NO_PASSWORD),
    (answer("DENIED Redis is running in protected mode because …"), Cause.LOGIN),
    (answer("NOPERM User app has no permissions to run the 'spublish' command"), Cause.RIGHT),
    (answer("NOPERM No permissions to access a channel"), Cause.RIGHT),
    (answer("ERR DB index is out of range"), Cause.NO_DATABASE),
    (answer("ERR max number of clients reached"), Cause.FULL),
    (answer("LOADING Redis is loading the dataset in memory"), Cause.NOT_NOW),
    (answer("READONLY You can't write against a read only replica."), Cause.READ_ONLY),
    (answer("NOREPLICAS Not enough good replicas to write."), Cause.READ_ONLY),
    (answer("MASTERDOWN Link with MASTER is down"), Cause.READ_ONLY),
    (answer("OOM command not allowed when used memory > 'maxmemory'."), Cause.MEMORY),
    (answer("MISCONF Valkey is configured to save RDB snapshots, but …"), Cause.DISK),
    (answer("CLUSTERDOWN The cluster is down"), Cause.INCOMPLETE),
    (answer("TRYAGAIN Multiple keys request during rehashing of slot"), Cause.INCOMPLETE),
    (answer("MOVED 12 10.0.0.1:6379"), Cause.REDIS_SETUP),
    (answer("ERR This instance has cluster support disabled"), Cause.REDIS_SETUP),
    (answer("ERR No such master with that name"), Cause.REDIS_SETUP),
    (redis.InvalidResponse('Protocol error, got "H" as reply type byte'), Cause.PROTOCOL),
    (asyncpg.InterfaceError("unexpected response from the server"), Cause.PROTOCOL),
    (RuntimeError("whatever"), Cause.OTHER),
]


@pytest.mark.parametrize(("error", "cause"), FROM_SERVERS, ids=lambda one: str(one)[:40])
def test_a_cause_is_told_with_its_server(error: BaseException, cause: Cause) -> None:
    told = why(error, "db.example.com:5432")
    assert told == f"db.example.com:5432: {cause}" or told.startswith(f"db.example.com:5432: {cause} (")


def test_every_cause_is_told_of_some_error() -> None:
    by_phase = {Cause.CLOSED, Cause.CLOSED_TLS}
    assert {cause for _, cause in FROM_SERVERS} == set(Cause) - by_phase


@pytest.mark.parametrize(
    ("phase", "cause"),
    [
        (Phase.IN_USE, Cause.LOST),
        (Phase.CONNECTING, Cause.CLOSED),
        (Phase.CONNECTING_BY_TLS, Cause.CLOSED_TLS),
    ],
)
def test_a_connection_that_ends_before_an_answer_was_never_one(phase: Phase, cause: Cause) -> None:
    assert why(redis.ConnectionError("Connection closed by server."), "redis:6379", phase) == (
        f"redis:6379: {cause}"
    )


def test_what_the_server_said_stands_behind_the_cause() -> None:
    assert why(answer("NOPERM User app has no permissions to run the 'eval' command"), "redis:6379") == (
        "redis:6379: a right is missing (NOPERM User app has no permissions to run the 'eval' command)"
    )


def test_the_cause_lies_below_what_it_was_wrapped_in() -> None:
    wrapped = raised_from(redis.ConnectionError("Error -2 connecting to redis:6379."), NOT_KNOWN)
    assert why(wrapped, "redis:6379") == f"redis:6379: {Cause.UNKNOWN_HOST}"


def test_a_place_that_is_noted_nearer_is_right() -> None:
    error = at(ConnectionRefusedError(errno.ECONNREFUSED, ""), "second:1")
    assert why(at(error, "first:1"), "third:1") == f"second:1: {Cause.REFUSED}"


def test_errors_that_came_together_are_told_once_each_and_not_all() -> None:
    many: list[Exception] = [at(ConnectionRefusedError(errno.ECONNREFUSED, ""), f"a:{n}") for n in range(99)]
    told = why(ExceptionGroup("several", [*many, *many])).split("; ")
    assert len(told) == len(set(told)) == SHOWN_CAUSES


def test_what_is_unavailable_tells_its_reason_and_clients_none_of_it() -> None:
    error = Unavailable("Redis cannot be reached now", "redis:6379: the connection was refused")
    assert why(error) == "redis:6379: the connection was refused"
    assert (error.message, str(error)) == ("Redis cannot be reached now", f"unavailable: {error.message}")
    assert why(Unavailable("table orders is locked")) == "table orders is locked"


def test_our_own_faults_keep_their_names() -> None:
    assert why(TooNew(9, 8), "db:5432").startswith("TooNew: ")


def error_with_attributes() -> BaseException:
    error: Any = RuntimeError(SECRET)
    error.password = SECRET
    return error


@pytest.mark.parametrize(
    "error",
    [
        answer(f"ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' '{SECRET}' "),
        answer(f"ERR unknown command `AUTH`, with args beginning with: `{SECRET}`, "),
        redis.InvalidResponse(f"Protocol error, got {SECRET}"),
        redis.ConnectionError(f"Error connecting to redis://:{SECRET}@redis:6379"),
        redis.DataError(SECRET),
        ValueError(f"invalid literal for int() with base 10: '{SECRET}'"),
        OSError(f"cannot open postgresql://app:{SECRET}@db/app"),
        UnicodeEncodeError("idna", SECRET, 0, 1, SECRET),
        asyncpg.InterfaceError(f"invalid DSN: postgresql://app:{SECRET}@db/app"),
        asyncpg.DataError(f"invalid input for query argument $1: '{SECRET}'"),
        asyncpg.InternalClientError(SECRET),
        postgres("23505", "duplicate key value", D=f"Key (token)=({SECRET}) already exists."),
        raised_from(redis.ConnectionError("x"), ValueError(SECRET)),
        ssl.SSLError(1, SECRET),
        error_with_attributes(),
        KeyError(SECRET),
    ],
    ids=repr,
)
def test_what_may_quote_a_password_is_not_quoted(error: BaseException) -> None:
    assert SECRET not in why(error, "db:5432")


def test_what_a_server_says_is_one_short_line() -> None:
    told = why(postgres("28000", "evil\r\n\x1b[31m{}\u2028" + "x" * 10_000), "db:5432")
    assert len(told) < MAX_DETAIL + 80
    assert told.isprintable()


def test_errors_that_were_raised_in_a_circle_are_told() -> None:
    first, second = ConnectionError(), ConnectionError()
    first.__cause__, second.__cause__ = second, first
    assert why(first) == Cause.LOST


def test_operators_read_of_every_cause_what_to_do() -> None:
    rows = table("docs/operations.md", "Why a server is away")
    assert [row[0] for row in rows] == list(Cause)
    assert all(meaning and remedy for _, meaning, remedy in rows)

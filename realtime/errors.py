"""Every error code and close code, in one table, and the exceptions that carry them.

The session, the REST handlers and the socket read it; `docs/protocol.md` repeats the table, and a test
compares the two. This module never decides which client gets which error.

    RealtimeError
    ├── ClientError        a client did something wrong, or asks for what it cannot have
    │   ├── Unavailable    a database or Redis that cannot be reached now
    │   ├── RateLimited    a client asked too often; tells when to ask again
    │   ├── TooNew         a schema that this program must not use (in `postgres.migrations`)
    │   └── UnknownKey     a token signed with a key that the project does not have (in `auth.tokens`)
    ├── StatementFailed    a statement that Postgres refused, although it is not an outage
    ├── SettingError       a wrong setting; the process does not start
    └── DevError           the embedded servers of `realtime dev` (in `dev.errors`)
"""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """The error codes of `error` messages and REST bodies. Their spelling is stable."""

    INVALID_JSON = "invalid_json"
    INVALID_MESSAGE = "invalid_message"
    INVALID_REQUEST = "invalid_request"
    UNKNOWN_TYPE = "unknown_type"
    INVALID_CHANNEL = "invalid_channel"
    INVALID_FILTER = "invalid_filter"
    UNAUTHORIZED = "unauthorized"
    TOKEN_EXPIRED = "token_expired"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    MESSAGE_TOO_BIG = "message_too_big"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    TOO_MANY_CHANNELS = "too_many_channels"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    RATE_LIMITED = "rate_limited"
    SLOW_CONSUMER = "slow_consumer"
    DISCONNECTED = "disconnected"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


HTTP_STATUS = {
    Code.INVALID_JSON: 400,
    Code.INVALID_MESSAGE: 400,
    Code.INVALID_REQUEST: 400,
    Code.INVALID_CHANNEL: 400,
    Code.INVALID_FILTER: 400,
    Code.UNAUTHORIZED: 401,
    Code.TOKEN_EXPIRED: 401,
    Code.FORBIDDEN: 403,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.MESSAGE_TOO_BIG: 413,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
    Code.TOO_MANY_CONNECTIONS: 429,
    Code.RATE_LIMITED: 429,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
}

CLOSE_CODE = {
    Code.INTERNAL: 1011,  # RFC 6455; an internal error in a single message leaves the connection open
    Code.UNAUTHORIZED: 4401,
    Code.TOKEN_EXPIRED: 4401,
    Code.FORBIDDEN: 4403,
    Code.NOT_FOUND: 4404,
    Code.DISCONNECTED: 4410,
    Code.SLOW_CONSUMER: 4413,
    Code.TOO_MANY_CONNECTIONS: 4429,
    Code.RATE_LIMITED: 4429,
    Code.UNAVAILABLE: 4503,
}

CLOSE_GOING_AWAY = 1001
CLOSE_PROTOCOL_ERROR = 1002
CLOSE_UNSUPPORTED_DATA = 1003
CLOSE_INVALID_TEXT = 1007
CLOSE_TOO_BIG = 1009
CLOSE_SERVICE_RESTART = 1012  # an administrator sent the client away, and it should come back
CLOSE_HEARTBEAT = 4408
NO_CLOSE_CODE = 1005  # never sent: recorded for a client that closed without a code


class RealtimeError(Exception):
    """Base class of every exception that this service raises on purpose."""


class ClientError(RealtimeError):
    """A client asked for something that it cannot have; the message is for the client's developer."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class Unavailable(ClientError):
    """Postgres or Redis cannot be reached now; the same request may succeed later.

    `reason` tells operators which server failed and why (`realtime.causes`). No client sees `reason`.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(Code.UNAVAILABLE, message)
        self.reason = reason


class StatementFailed(RealtimeError):
    """Postgres refused a statement for a reason other than an outage: a missing right, a missing relation.

    `__cause__` is the driver's error.
    """


class RateLimited(ClientError):
    """A client asks too often; it should wait `retry_seconds` before the next request."""

    def __init__(self, message: str, retry_seconds: float) -> None:
        super().__init__(Code.RATE_LIMITED, message)
        self.retry_seconds = retry_seconds


class SettingError(RealtimeError):
    """A setting is missing, unknown or wrong; the process does not start."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(setting, reason)
        self.setting = setting
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.setting}: {self.reason}"

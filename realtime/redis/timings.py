"""How long the clients of Redis wait, as one record that the caller of `connect` may replace."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RedisTimings:
    """All timings of a connection to Redis that tests change, in seconds."""

    call_seconds: float = 5.0  # for a call of the store, whatever happens
    # For a server to answer the TLS handshake: a server without TLS may never answer.
    tls_answer_seconds: float = 4.0  # less than `call_seconds`, so that the error names the cause
    tls_files_seconds: float = 60.0  # after which certificates are read again


DEFAULTS = RedisTimings()

"""How long the public port waits for a client, and for how many clients at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpTimings:
    """Seconds, and the bounds that belong to them."""

    # From the first byte of a request, or the start of a connection, to the last header.
    handshake_seconds: float = 10.0
    body_seconds: float = 10.0  # for a whole body to arrive
    answer_seconds: float = 30.0  # for a client to read a response
    penalty_seconds: float = 1.0  # delay of a refusal for a rate
    max_delayed: int = 1_000  # refusals delayed at a time; further requests are refused at once
    max_idle: int | None = None  # connections that wait at a time; None: what the open files allow


DEFAULTS = HttpTimings()

"""Counts refusals, and logs the first of each kind and address; further refusals are logged at DEBUG alone.

The WebSocket endpoint, the REST middleware and connections whose requests cannot be parsed report refusals.
The addresses remembered and the rate of log lines are bounded, since strangers decide how many there are.
"""

from __future__ import annotations

import time
from enum import StrEnum

from gateway import metrics
from gateway.projects.rate_limit import address_key
from gateway.projects.token_bucket import Bucket
from realtime.errors import Code
from realtime.logs.setup import get_logger

log = get_logger(__name__)

QUIET_SECONDS = 600.0  # in which a kind of refusal is logged once for an address
MAX_REMEMBERED = 10_000  # pairs of kind and address; beyond it the oldest is evicted
LOGGED_PER_SECOND, LOGGED_AT_ONCE = 1.0, 60.0  # a client with many addresses does not fill the log


class Surface(StrEnum):
    """The interface that refused a client."""

    WEBSOCKET = "websocket"
    REST = "rest"


class Refusals:
    """The recent refusals of a node."""

    def __init__(self, now: float, max_remembered: int = MAX_REMEMBERED) -> None:
        self._max_remembered = max_remembered
        self._logged_at: dict[tuple[Surface, Code, str], float] = {}  # monotonic; the oldest first
        self._log_rate = Bucket(LOGGED_PER_SECOND, LOGGED_AT_ONCE, now)

    def __repr__(self) -> str:
        return f"<Refusals of {len(self._logged_at)} kinds and addresses>"

    def note(self, surface: Surface, project: str | None, code: Code, address: str) -> None:
        """Count a refusal, log the first of its kind; `project` is None if no served project is named."""
        metrics.refusals.labels(project or "", surface, code).inc()
        if self._is_first((surface, code, address_key(address)), time.monotonic()):
            log.info("refusals_began", door=surface, code=code, address=address)

    def _is_first(self, kind: tuple[Surface, Code, str], now: float) -> bool:
        logged_at = self._logged_at.get(kind)
        if logged_at is not None and now - logged_at < QUIET_SECONDS:
            return False
        if not self._log_rate.take(now):
            return False
        self._logged_at.pop(kind, None)
        self._logged_at[kind] = now
        if len(self._logged_at) > self._max_remembered:
            del self._logged_at[next(iter(self._logged_at))]
        return True

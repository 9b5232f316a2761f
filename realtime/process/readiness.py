"""Logs when a process becomes ready and when it no longer is, as `/readyz` reports it.

Each composition root starts this task beside its parts. It never decides what ready means.
"""

from __future__ import annotations

import asyncio

from realtime.logs.setup import get_logger
from realtime.process.health import Readiness
from realtime.waiting.survival import Part

log = get_logger(__name__)

LOOK_SECONDS = 1.0

_part = Part("readiness")


async def watch_readiness(why_not_ready: Readiness, look_seconds: float = LOOK_SECONDS) -> None:
    """Log the first state and every change of it, until cancelled."""
    before: str | None = ""  # differs from every reason, and from None
    while True:
        with _part.survives():
            reason = why_not_ready()
            if reason != before and reason is None:
                log.info("ready")
            elif reason != before:
                log.info("not_ready", reason=reason)
            before = reason
        await asyncio.sleep(look_seconds)

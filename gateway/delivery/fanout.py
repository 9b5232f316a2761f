"""Puts the hub's deliveries into the send queues of subscribers, and measures how long that takes.

Deliveries come from the hub through the topic subscriptions. Metrics are updated once a turn of the loop, not
for each send queue: with a thousand subscribers their cost must stay negligible.
"""

from __future__ import annotations

import asyncio
import time

from gateway import metrics
from gateway.hub.hub import Delivery
from gateway.wire.send_queue import SendQueue
from realtime.publications import is_change, written_at
from realtime.waiting.survival import Part

_part = Part("fanout")
_CHANGE_AGE, _BROADCAST_AGE = (metrics.delivery_age_seconds.labels(kind) for kind in metrics.KINDS)


class Fanout:
    """Sends deliveries to all their subscribers."""

    def __init__(self) -> None:
        self._began_at: float | None = None  # monotonic time of this turn's first delivery, if there was one
        self._line: bytes | None = None  # the last message of this turn
        self._deliveries = 0  # of this turn
        self._messages = 0  # of this turn

    def __repr__(self) -> str:
        return f"<Fanout {self._deliveries} deliveries in this turn>"

    def deliver(self, deliveries: list[Delivery[SendQueue]]) -> None:
        """Queue frames for all subscribers; the frames are written at the end of this turn."""
        if not deliveries:
            return
        is_first = self._began_at is None
        if is_first:
            self._began_at = time.monotonic()
        for delivery in deliveries:
            self._deliveries += len(delivery.subscribers)
            self._messages += _send(delivery)
        self._line = deliveries[-1].line or self._line
        if is_first:  # the queue writer was woken earlier, so it writes before this runs
            asyncio.get_running_loop().call_soon(self._written)

    def _written(self) -> None:
        with _part.survives():
            self._measure()
        self._began_at = self._line = None
        self._deliveries = self._messages = 0

    def _measure(self) -> None:
        assert self._began_at is not None
        metrics.deliveries.inc(self._deliveries)
        metrics.messages_sent.inc(self._messages)
        metrics.fanout_seconds.observe(time.monotonic() - self._began_at)
        if self._line is not None and (written := written_at(self._line)) is not None:
            # The clocks of two hosts may differ by more than the age.
            age = max(0.0, time.time() - written)
            (_CHANGE_AGE if is_change(self._line) else _BROADCAST_AGE).observe(age)


def _send(delivery: Delivery[SendQueue]) -> int:
    """Queue the same pieces for all subscribers; return the number of messages."""
    pieces = delivery.pieces
    for send_queue in delivery.subscribers:
        try:
            send_queue.send(pieces)  # most CPU of a node is spent here, and in the queue writer
        except Exception as error:
            send_queue.fail(error)
    return len(delivery.subscribers) * delivery.messages

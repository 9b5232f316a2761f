"""Puts the hub's deliveries into the send queues of subscribers, and measures how long that takes.

Deliveries come from the hub through the topic subscriptions. Metrics are updated once a write, not for
each send queue: with a thousand subscribers their cost must stay negligible.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway import metrics
from gateway.hub.hub import Delivery
from gateway.wire.batch import Batch
from gateway.wire.send_queue import SendQueue
from realtime.publications import is_change, written_at
from realtime.waiting.survival import Part

_part = Part("fanout")
_CHANGE_AGE, _BROADCAST_AGE = (metrics.delivery_age_seconds.labels(kind) for kind in metrics.KINDS)


class Fanout:
    """Sends deliveries to all their subscribers; `after_write` calls a function when they are written."""

    def __init__(self, after_write: Callable[[Callable[[], None]], None]) -> None:
        self._after_write = after_write
        self._began_at: float | None = None  # monotonic time of the first delivery that is not written yet
        self._line: bytes | None = None  # the last message that is not written yet
        self._deliveries = 0  # that are not written yet
        self._messages = 0  # in them
        self._batches: dict[object, Batch] = {}  # the last one of each audience, by its members

    def __repr__(self) -> str:
        return f"<Fanout {self._deliveries} deliveries not written>"

    def deliver(self, deliveries: list[Delivery[SendQueue]]) -> None:
        """Queue frames for all subscribers; they are written at the end of this turn, or a moment later."""
        if not deliveries:
            return
        if self._began_at is None:
            self._began_at = time.monotonic()
            self._after_write(self._written)
        for delivery in deliveries:
            self._deliveries += len(delivery.subscribers)
            self._messages += len(delivery.subscribers) * delivery.messages
            self._send(delivery)
        self._line = deliveries[-1].line or self._line

    def _send(self, delivery: Delivery[SendQueue]) -> None:
        """Add to the batch at the end of the queues of all subscribers, or give them a new one."""
        size = sum(map(len, delivery.pieces))
        batch = self._batches.get(delivery.members)
        if batch is not None and batch.is_open:
            batch.add(delivery.pieces, size)
            return
        batch = Batch(delivery.pieces, size)
        if delivery.members is not None:
            self._batches[delivery.members] = batch
        for send_queue in delivery.subscribers:
            try:
                send_queue.deliver(batch)
            except Exception as error:
                send_queue.fail(error)

    def _written(self) -> None:
        self._batches = {}
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

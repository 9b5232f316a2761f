"""How long deliveries wait for Redis and for clients. The composition root hands this record out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeliveryTimings:
    """Seconds, and the bounds that belong to them."""

    # Subscriptions to Redis servers
    first_retry_seconds: float = 0.1  # after a subscription was lost
    last_retry_seconds: float = 2.0
    probe_seconds: float = 2.0  # between two probes
    dead_after_seconds: float = 6.0  # without a probe, which is three probes

    # Topics
    join_seconds: float = 10.0  # for which a `subscribe` waits while Redis is unreachable
    grace_seconds: float = 1.0  # for which an unused topic stays open, for clients that come back at once
    catch_up_retry_seconds: float = 0.1  # a connection from before a restart of Redis fails once
    broken_seconds: float = 1.0  # after a failure to catch up that is a fault of this program

    # Replay caches
    unused_seconds: float = 5.0  # between two checks of a replay cache; an unused cache is dropped
    looks: int = 12  # checks after which a cache is dropped in any case: history expires by age, too

    # Empty topics
    keep_part: float = 0.2  # time between two rounds, as a part of the time for which Redis keeps them
    # Empty topics that a project's clients may leave behind on a node, 7 to 14 MB of Redis: the oldest go
    # first.
    left_by_project: int = 20_000


DEFAULTS = DeliveryTimings()

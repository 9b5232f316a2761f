"""How long the parts of a gateway wait, as one record that the composition root hands out.

Each room with timings of its own has a record of them; this one holds all of these records. Tests hand in
shorter ones: `Timings(tick_seconds=0.02)`.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.delivery.timings import DEFAULTS as DELIVERY
from gateway.delivery.timings import DeliveryTimings
from gateway.fleet.timings import DEFAULTS as FLEET
from gateway.fleet.timings import FleetTimings
from gateway.http.timings import DEFAULTS as HTTP
from gateway.http.timings import HttpTimings
from gateway.presence.timings import DEFAULTS as PRESENCE
from gateway.presence.timings import PresenceTimings
from gateway.session.timings import DEFAULTS as SESSION
from gateway.session.timings import SessionTimings
from gateway.websocket.timings import DEFAULTS as WEBSOCKET
from gateway.websocket.timings import WebSocketTimings
from gateway.wire.queue_writer import PARTING_SECONDS
from realtime.redis.timings import DEFAULTS as REDIS
from realtime.redis.timings import RedisTimings


@dataclass(frozen=True, slots=True)
class Timings:
    """All timings of a gateway, in seconds, and the bounds that belong to them."""

    tick_seconds: float = 1.0  # between two checks of every connection's deadlines
    goodbye_seconds: float = 2.0  # to tell Redis how the last connections ended
    parting_seconds: float = PARTING_SECONDS
    redis: RedisTimings = REDIS
    delivery: DeliveryTimings = DELIVERY
    fleet: FleetTimings = FLEET
    http: HttpTimings = HTTP
    session: SessionTimings = SESSION
    websocket: WebSocketTimings = WEBSOCKET
    presence: PresenceTimings = PRESENCE


DEFAULTS = Timings()

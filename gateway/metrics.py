"""The Prometheus metrics of a gateway.

The part that carries out an action counts it; `gateway.websocket.gauges` sets gauges. A label has few values,
known beforehand, and every series exists from the start, since `rate` misses the first event of a new series.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from realtime import errors as codes
from realtime.errors import CLOSE_CODE, Code

_PROJECT = ["project"]
KINDS = ("change", "broadcast")
REFUSALS = (Code.UNAUTHORIZED, Code.TOKEN_EXPIRED, Code.UNAVAILABLE)  # what the check of a token may end with
REFUSED_AT = {  # the codes of refusals by each door
    "websocket": tuple(c for c in CLOSE_CODE if c not in (Code.SLOW_CONSUMER, Code.DISCONNECTED)),
    "rest": (
        *(Code.INVALID_REQUEST, Code.UNAUTHORIZED, Code.TOKEN_EXPIRED, Code.FORBIDDEN, Code.NOT_FOUND),
        *(Code.METHOD_NOT_ALLOWED, Code.MESSAGE_TOO_BIG, Code.UNSUPPORTED_MEDIA_TYPE),
        *(Code.RATE_LIMITED, Code.UNAVAILABLE),
    ),
}
CLOSES = {
    codes.CLOSE_GOING_AWAY,
    codes.CLOSE_PROTOCOL_ERROR,
    codes.CLOSE_UNSUPPORTED_DATA,
    codes.CLOSE_INVALID_TEXT,
    codes.CLOSE_TOO_BIG,
    codes.CLOSE_SERVICE_RESTART,
    codes.CLOSE_HEARTBEAT,
    *CLOSE_CODE.values(),
}

connections = Gauge("realtime_gateway_connections", "Open WebSockets", _PROJECT)
subscriptions = Gauge("realtime_gateway_subscriptions", "Subscriptions of all open WebSockets", _PROJECT)
presences = Gauge(
    "realtime_gateway_presences", "Presences of all open WebSockets, one for each channel", _PROJECT
)
topics = Gauge("realtime_gateway_topics", "Topics that this node is subscribed to in Redis", _PROJECT)
queue_bytes = Gauge(
    "realtime_gateway_queue_bytes",
    "Bytes that this node holds for its clients; bytes that many wait for count once",
)
queue_budget_bytes = Gauge(
    "realtime_gateway_queue_budget_bytes", "Most bytes that this node may hold for its clients"
)
largest_queue_bytes = Gauge(
    "realtime_gateway_largest_queue_bytes", "Bytes that wait for the client that is furthest behind"
)
messages_received = Counter("realtime_gateway_messages_received", "Messages received from clients")
bytes_received = Counter(
    "realtime_gateway_bytes_received", "Bytes of messages received from clients, without frame headers"
)
frames_received = Counter(
    "realtime_gateway_frames_received", "Control frames and small fragments received from clients", ["kind"]
)
reads_delayed = Counter(
    "realtime_gateway_reads_delayed", "Pauses in reading from a client that sent too much"
)
publications_received = Counter("realtime_gateway_publications_received", "Publications received from Redis")
deliveries = Counter(
    "realtime_gateway_deliveries", "Publications delivered, counted once for each subscriber"
)
messages_sent = Counter("realtime_gateway_messages_sent", "Messages sent to clients: answers and events")
bytes_sent = Counter("realtime_gateway_bytes_sent", "Bytes written to the network for clients")
fanout_seconds = Histogram(
    "realtime_gateway_fanout_seconds",
    "Time to write the frames of a publication to the network for all its subscribers",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
delivery_age_seconds = Histogram(
    "realtime_gateway_delivery_age_seconds",
    "Age of the last message of a publication at its delivery, by the timestamp in it",
    ["kind"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
errors = Counter("realtime_gateway_errors", "Errors sent to clients by WebSocket", ["code"])
closes = Counter("realtime_gateway_closes", "Connections closed by this node", ["code"])
opened = Counter("realtime_gateway_opened_connections", "WebSockets that were admitted", _PROJECT)
refusals = Counter(
    "realtime_gateway_refusals", "Clients and requests that were refused", ["project", "door", "code"]
)
refused_tokens = Counter(
    "realtime_gateway_refused_tokens", "Tokens that were missing or refused", ["project", "code"]
)
slow_consumers = Counter(
    "realtime_gateway_slow_consumers", "Clients that were closed because they read too slowly"
)
requests = Counter("realtime_gateway_requests", "REST requests answered", ["endpoint", "status"])
request_seconds = Histogram("realtime_gateway_request_seconds", "Time to answer a REST request", ["endpoint"])
gaps = Counter("realtime_gateway_gaps", "Gaps in a topic, filled from history or sent as resync")
resyncs = Counter("realtime_gateway_resyncs", "Topics whose subscribers received resync")
recoveries = Counter("realtime_gateway_recoveries", "Subscriptions with `since`", ["outcome"])
history_reads = Counter("realtime_gateway_history_reads", "Reads of history for subscriptions with `since`")
redis_reconnects = Counter(
    "realtime_gateway_redis_reconnects",
    "Losses of the subscription to a server of Redis, and failed tries to restore it",
)
redis_failures = Counter("realtime_gateway_redis_failures", "Calls to Redis for clients that failed")
fleet_messages_ignored = Counter(
    "realtime_gateway_fleet_messages_ignored",
    "Messages in the inbox of this node that no node could have sent, or that came too fast",
)
owed = Gauge("realtime_gateway_owed", "Writes about clients that still wait for Redis")

for _frames in ("control", "fragment"):
    frames_received.labels(_frames)
for _kind in KINDS:
    delivery_age_seconds.labels(_kind)
for _code in Code:
    errors.labels(_code)
for _close in CLOSES:
    closes.labels(_close)
for _outcome in ("recovered", "lost"):
    recoveries.labels(_outcome)


def add_project(project: str) -> None:
    """Create the series of a project at 0; series that exist keep their values."""
    for gauge in (connections, subscriptions, presences, topics):
        gauge.labels(project)
    opened.labels(project)
    for code in REFUSALS:
        refused_tokens.labels(project, code)
    _add_refusals(project)


def remove_project(project: str) -> None:
    """Remove the series of a project that is no longer served."""
    for gauge in (connections, subscriptions, presences, topics):
        gauge.remove(project)
    opened.remove_by_labels({"project": project})
    for counter in (refused_tokens, refusals):
        counter.remove_by_labels({"project": project})


def _add_refusals(project: str) -> None:
    for door, codes_there in REFUSED_AT.items():
        for code in codes_there:
            refusals.labels(project, door, code)


_add_refusals("")  # for requests that name no served project

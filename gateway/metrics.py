"""What a gateway counts, as Prometheus sees it.

Whoever does a thing counts it; `gateway.websocket.gauges` sets the figures of what is there now. A label has
few values, known beforehand, and all are there from the start: `rate` misses the first event of a new series.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from realtime import errors as codes
from realtime.errors import CLOSE_CODE, Code

_PROJECT = ["project"]
KINDS = ("change", "broadcast")
REFUSALS = (Code.UNAUTHORIZED, Code.TOKEN_EXPIRED, Code.UNAVAILABLE)  # what a check of a token may end with
REFUSED_AT = {  # each door, and by which codes
    "websocket": tuple(code for code in CLOSE_CODE if code is not Code.SLOW_CONSUMER),
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
    codes.CLOSE_HEARTBEAT,
    *CLOSE_CODE.values(),
}

connections = Gauge("realtime_gateway_connections", "Open WebSockets", _PROJECT)
subscriptions = Gauge("realtime_gateway_subscriptions", "Subscriptions of them", _PROJECT)
presences = Gauge("realtime_gateway_presences", "Channels in which they are present, one for each", _PROJECT)
topics = Gauge("realtime_gateway_topics", "Tables and channels that this node hears from Redis", _PROJECT)
queue_bytes = Gauge(
    "realtime_gateway_queue_bytes", "Bytes that the node holds for clients; what many wait for counts once"
)
queue_budget_bytes = Gauge("realtime_gateway_queue_budget_bytes", "How many of those there may be")
largest_queue_bytes = Gauge("realtime_gateway_largest_queue_bytes", "Bytes that wait for the furthest behind")
messages_received = Counter("realtime_gateway_messages_received", "Messages of clients")
bytes_received = Counter("realtime_gateway_bytes_received", "Bytes of them, without frames' headers")
frames_received = Counter(
    "realtime_gateway_frames_received", "Frames of clients that are no messages", ["kind"]
)
reads_delayed = Counter(
    "realtime_gateway_reads_delayed", "Times that a client was not read for a moment, since it sent too much"
)
publications_received = Counter("realtime_gateway_publications_received", "Publications that Redis brought")
deliveries = Counter("realtime_gateway_deliveries", "Publications handed to subscribers, one a subscriber")
messages_sent = Counter("realtime_gateway_messages_sent", "Messages for clients: answers, and what happens")
bytes_sent = Counter("realtime_gateway_bytes_sent", "Bytes handed to the network for clients")
fanout_seconds = Histogram(
    "realtime_gateway_fanout_seconds",
    "Time to hand a publication's frames to the network for all its subscribers",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
delivery_age_seconds = Histogram(
    "realtime_gateway_delivery_age_seconds",
    "Age of a publication's last message when it was handed over, by the time that stands in it",
    ["kind"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
errors = Counter("realtime_gateway_errors", "Errors told to clients", ["code"])
closes = Counter("realtime_gateway_closes", "Connections closed by this node", ["code"])
opened = Counter("realtime_gateway_opened_connections", "WebSockets of clients that were let in", _PROJECT)
refusals = Counter(
    "realtime_gateway_refusals", "Clients and requests that were refused", ["project", "door", "code"]
)
refused_tokens = Counter("realtime_gateway_refused_tokens", "Tokens not accepted", ["project", "code"])
slow_consumers = Counter("realtime_gateway_slow_consumers", "Clients closed because they could not follow")
requests = Counter("realtime_gateway_requests", "Answers by REST", ["endpoint", "status"])
request_seconds = Histogram("realtime_gateway_request_seconds", "Time to answer by REST", ["endpoint"])
gaps = Counter("realtime_gateway_gaps", "Holes in a topic that were filled from history or told as resync")
resyncs = Counter("realtime_gateway_resyncs", "Topics whose subscribers were told to read again")
recoveries = Counter("realtime_gateway_recoveries", "Clients that came back with `since`", ["outcome"])
history_reads = Counter("realtime_gateway_history_reads", "Readings of history for them")
redis_reconnects = Counter(
    "realtime_gateway_redis_reconnects", "Times that the subscription to Redis was lost"
)
redis_failures = Counter("realtime_gateway_redis_failures", "Calls for clients that Redis did not carry out")
owed = Gauge("realtime_gateway_owed", "Comings and goings of clients that Redis has not been told")

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
    """Begin the series of a project at 0; nothing happens to those that are there."""
    for gauge in (connections, subscriptions, presences, topics):
        gauge.labels(project)
    opened.labels(project)
    for code in REFUSALS:
        refused_tokens.labels(project, code)
    _add_refusals(project)


def remove_project(project: str) -> None:
    """Drop the series of a project that is served no more."""
    for gauge in (connections, subscriptions, presences, topics):
        gauge.remove(project)
    opened.remove_by_labels({"project": project})
    for counter in (refused_tokens, refusals):
        counter.remove_by_labels({"project": project})


def _add_refusals(project: str) -> None:
    for door, codes_there in REFUSED_AT.items():
        for code in codes_there:
            refusals.labels(project, door, code)


_add_refusals("")  # of requests that name no project that is served

"""What a gateway counts, as Prometheus sees it."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

connections = Gauge("realtime_gateway_connections", "Open WebSockets", ["project"])
messages_received = Counter("realtime_gateway_messages_received", "Messages of clients")
publications_received = Counter("realtime_gateway_publications_received", "Publications that Redis brought")
bytes_sent = Counter("realtime_gateway_bytes_sent", "Bytes handed to the network for clients")
deliveries = Counter("realtime_gateway_deliveries", "Publications handed to subscribers, one a subscriber")
errors = Counter("realtime_gateway_errors", "Errors told to clients", ["code"])
closes = Counter("realtime_gateway_closes", "Connections closed by this node", ["code"])
slow_consumers = Counter("realtime_gateway_slow_consumers", "Clients closed because they could not follow")
gaps = Counter("realtime_gateway_gaps", "Holes in a topic that were filled from history or told as resync")
resyncs = Counter("realtime_gateway_resyncs", "Topics whose subscribers were told to read again")
recoveries = Counter("realtime_gateway_recoveries", "Clients that came back with `since`", ["outcome"])
history_reads = Counter("realtime_gateway_history_reads", "Readings of history for them")
redis_reconnects = Counter(
    "realtime_gateway_redis_reconnects", "Times that the subscription to Redis was lost"
)

"""Every name that this service uses in Redis and in Postgres.

Called by whoever talks to either; never builds SQL. Redis keys of one topic share the hash tag
`{project:topic}`, so that they lie in one slot of a cluster. A `}` in a topic only shortens the tag,
the same way for all its keys.
"""

from __future__ import annotations

# Postgres
SCHEMA = "realtime"
OWNER_ROLE = "realtime_owner"
DOORBELL = "realtime"  # the NOTIFY channel; without payload
LEADER_LOCK = 0x7265616C_6C656164  # "reallead": session lock of the one notifier that reads a database
AWAKE_LOCK = 0x7265616C_6177616B  # "realawak": held while that notifier reads, so that writers need not ring


def topic_channel(project: str, topic: str) -> str:
    """The pub/sub channel on which the messages of a topic travel."""
    return f"realtime:{{{project}:{topic}}}"


def topic_meta(project: str, topic: str) -> str:
    """Hash: epoch, offset and what the topic took last from its feed. Never expires on a table topic."""
    return f"realtime:{{{project}:{topic}}}:meta"


def topic_history(project: str, topic: str) -> str:
    """Stream: the publications of a topic that a client may still come back to."""
    return f"realtime:{{{project}:{topic}}}:history"


def nodes() -> str:
    """Sorted set: the id of each gateway node by the time of its last heartbeat."""
    return "realtime:nodes"


def node(node_id: str) -> str:
    """String with a TTL: a node's heartbeat, what it serves and since when."""
    return f"realtime:node:{node_id}"


def notifier(project: str) -> str:
    """String with a TTL: the report of the notifier that reads a project's database."""
    return f"realtime:{{{project}}}:notifier"

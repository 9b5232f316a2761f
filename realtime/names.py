"""Every name that this service uses in Redis and in Postgres.

Called by whoever talks to either; never builds SQL. Redis keys of one topic share the hash tag
`{project:topic}`, so that they lie in one slot of a cluster. A `}` in a topic only shortens the tag,
the same way for all its keys.
"""

from __future__ import annotations

# Postgres
SCHEMA = "realtime"
DOORBELL = "realtime"  # the NOTIFY channel; without payload
LEADER_LOCK = (
    0x7265616C_6C656164  # "reallead": by which notifiers of schema version 3 and before know a leader
)


FEED_FAILED = "failed, and is tried again"  # the state of a project that its notifier cannot serve now


def topic_channel(project: str, topic: str) -> str:
    """The pub/sub channel on which the messages of a topic travel."""
    return f"realtime:{{{project}:{topic}}}"


def topic_meta(project: str, topic: str) -> str:
    """Hash: epoch, offset and the mark of what a table topic took last. Never expires on a table topic."""
    return f"realtime:{{{project}:{topic}}}:meta"


def topic_history(project: str, topic: str) -> str:
    """Stream: the publications of a topic that a client may still come back to."""
    return f"realtime:{{{project}:{topic}}}:history"


def probe(node_id: str, number: int = 0) -> str:
    """A pub/sub channel on which a node hears whether a subscription lives; its number leads to a server."""
    return f"realtime:probe:{node_id}:{number}"


def nodes() -> str:
    """Set: the incarnations of gateway nodes; those whose own key is gone are dead."""
    return "realtime:nodes"


def node(incarnation: str) -> str:
    """String with a TTL: a node's heartbeat, what it serves and since when."""
    return f"realtime:node:{incarnation}"


def tables(project: str) -> str:
    """Set: the table topics that a project's feed has ever published to."""
    return f"realtime:{{{project}}}:tables"


def notifier(project: str) -> str:
    """String with a TTL: the lease of the notifier that reads a project's database, and its state."""
    return f"realtime:{{{project}}}:notifier"


def notifiers() -> str:
    """Sorted set: the notifiers that live, by when Redis takes them for dead."""
    return "realtime:{notifiers}"


def notifier_facts() -> str:
    """Hash: what each of them serves."""
    return "realtime:{notifiers}:facts"


TRIGGERS = {
    "INSERT": "realtime_capture_insert",
    "UPDATE": "realtime_capture_update",
    "DELETE": "realtime_capture_delete",
}  # the statement trigger for each event; the SQL of this package has the same names


def topic_members(project: str, topic: str) -> str:
    """Hash: who is present under a topic, INCARNATION/CONNECTION → entry."""
    return f"realtime:{{{project}:{topic}}}:members"


def node_beat(incarnation: str) -> str:
    """String with a short TTL: an incarnation of a node is known to be alive at this moment."""
    return f"realtime:node:{incarnation}:beat"


def node_topics(incarnation: str) -> str:
    """Set: where a node's incarnation has put presence entries, `project topic`; read when it is dead."""
    return f"realtime:node:{incarnation}:topics"


def node_heir(incarnation: str) -> str:
    """String with a TTL: some node is cleaning up after this dead incarnation."""
    return f"realtime:node:{incarnation}:heir"


def open_connections(project: str) -> str:
    """Hash: the open connections of a project, INCARNATION/CONNECTION → facts."""
    return f"realtime:{{{project}}}:open"


def connection_counts(project: str) -> str:
    """Hash: how many open connections a user and an address have."""
    return f"realtime:{{{project}}}:counts"


def incarnation_counts(project: str, incarnation: str) -> str:
    """Hash: how many of these a node's incarnation has, in all, of a user and of an address."""
    return f"realtime:{{{project}}}:counts:{incarnation}"


def connection_history(project: str) -> str:
    """Stream: connects and disconnects of a project."""
    return f"realtime:{{{project}}}:connections"

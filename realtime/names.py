"""Every name that this service uses in Redis and in Postgres.

All code that talks to Redis or Postgres takes the names from here; this module never builds SQL. Redis keys
of one topic share the hash tag `{project:topic}`, so that they lie in one slot of a cluster. A `}` in a topic
only shortens the tag, the same way for all keys of the topic.
"""

from __future__ import annotations

# Postgres
SCHEMA = "realtime"
DOORBELL = "realtime"  # the NOTIFY channel; a notification has no payload
# "reallead": the lock by which notifiers of schema version 3 and older recognize a leader
LEADER_LOCK = 0x7265616C_6C656164


FEED_FAILED = "failed, and is tried again"  # state of a project that its notifier cannot serve now


def topic_channel(project: str, topic: str) -> str:
    """Pub/sub channel that carries the messages of a topic."""
    return f"realtime:{{{project}:{topic}}}"


def topic_meta(project: str, topic: str) -> str:
    """Hash: epoch, offset, and a table topic's checkpoint. Never expires for a table topic."""
    return f"realtime:{{{project}:{topic}}}:meta"


def topic_history(project: str, topic: str) -> str:
    """Stream: the publications of a topic from which a client can still resume."""
    return f"realtime:{{{project}:{topic}}}:history"


def probe(node_id: str, number: int = 0) -> str:
    """Pub/sub channel by which a node checks that a subscription works; `number` selects a server."""
    return f"realtime:probe:{node_id}:{number}"


def node_inbox(node_id: str) -> str:
    """Pub/sub channel on which one gateway node is asked by other nodes, and gets their answers."""
    return f"realtime:inbox:{node_id}"


def nodes() -> str:
    """Set: the incarnations of gateway nodes; an incarnation whose own key is gone is dead."""
    return "realtime:nodes"


def node(incarnation: str) -> str:
    """String with a TTL: a node's heartbeat, what the node serves and since when."""
    return f"realtime:node:{incarnation}"


def tables(project: str) -> str:
    """Set: all table topics to which a project's feed has ever published."""
    return f"realtime:{{{project}}}:tables"


def notifier(project: str) -> str:
    """String with a TTL: the lease of the notifier that reads a project's database, and its state."""
    return f"realtime:{{{project}}}:notifier"


def notifiers() -> str:
    """Sorted set: the live notifiers; the score is the time at which Redis considers a notifier dead."""
    return "realtime:{notifiers}"


def notifier_facts() -> str:
    """Hash: what each live notifier serves."""
    return "realtime:{notifiers}:facts"


TRIGGERS = {
    "INSERT": "realtime_capture_insert",
    "UPDATE": "realtime_capture_update",
    "DELETE": "realtime_capture_delete",
}  # the statement trigger for each event; the SQL in `realtime.postgres` has the same names


def topic_members(project: str, topic: str) -> str:
    """Hash: the presence entries of a topic, INCARNATION/CONNECTION → entry."""
    return f"realtime:{{{project}:{topic}}}:members"


def node_beat(incarnation: str) -> str:
    """String with a short TTL: while it exists, this incarnation of a node is known to be alive."""
    return f"realtime:node:{incarnation}:beat"


def node_topics(incarnation: str) -> str:
    """Set: the topics with presence entries of an incarnation, `project topic`; read after its death."""
    return f"realtime:node:{incarnation}:topics"


def node_heir(incarnation: str) -> str:
    """String with a TTL: while it exists, some node cleans up after this dead incarnation."""
    return f"realtime:node:{incarnation}:heir"


def open_connections(project: str) -> str:
    """Hash: the open connections of a project, INCARNATION/CONNECTION → facts."""
    return f"realtime:{{{project}}}:open"


def connection_counts(project: str) -> str:
    """Hash: the number of open connections of each user and of each address."""
    return f"realtime:{{{project}}}:counts"


def incarnation_counts(project: str, incarnation: str) -> str:
    """Hash: open connections of one node's incarnation: in total, of each user and of each address."""
    return f"realtime:{{{project}}}:counts:{incarnation}"


def connection_history(project: str) -> str:
    """Stream: the connects and disconnects of a project."""
    return f"realtime:{{{project}}}:connections"

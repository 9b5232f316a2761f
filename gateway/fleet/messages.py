"""What nodes say to each other: questions about one project, and answers. Pure.

A message is JSON. Everybody with access to Redis may write into an inbox, so a message that cannot be read is
None, and a question that asks for too much is refused by its type.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

MAX_ANSWER_BYTES = 1_048_576  # of what one node answers; entries that do not fit are left for the next page
MAX_MESSAGE_BYTES = 2 * MAX_ANSWER_BYTES  # no node sends more
MAX_ENTRIES = 1_001  # of one answer: the largest page, and one more

ID = re.compile("[0-9a-f]{1,32}")
Id = Annotated[str, Meta(pattern=f"^{ID.pattern}$")]
Text = Annotated[str, Meta(max_length=16_384)]
Bytes = Annotated[int, Meta(ge=0, le=MAX_ANSWER_BYTES)]
Entries = Annotated[int, Meta(ge=1, le=MAX_ENTRIES)]


class AskStats(Struct, frozen=True, tag="stats"):
    """What a node has counted."""


class AskCount(Struct, frozen=True, tag="count"):
    """How many connections a user has on a node."""

    user_id: Text


class AskClients(Struct, frozen=True, kw_only=True, tag="clients"):
    """The first connections of a node after one, in the order of their ids."""

    after: Text
    limit: Entries
    max_bytes: Bytes
    user_id: Text | None = None  # None: of all users


class AskChannels(Struct, frozen=True, kw_only=True, tag="channels"):
    """The first channels after one that begin with a prefix, in the order of their names."""

    after: Text
    prefix: Text
    limit: Entries
    max_bytes: Bytes


class AskDisconnect(Struct, frozen=True, kw_only=True, tag="disconnect"):
    """Close one connection, or all connections of a user."""

    connection_id: Text | None = None
    user_id: Text | None = None
    reconnect: bool = False


Question = AskStats | AskCount | AskClients | AskChannels | AskDisconnect


class Stats(Struct, frozen=True, kw_only=True, tag="stats"):
    """One node and what it counted for the project since it started; the first seven figures are of now."""

    version: str
    started_at: str
    draining: bool
    connections: int
    subscriptions: int
    channels: int
    queue_bytes: int
    messages_in: int
    messages_out: int
    bytes_out: int
    slow_consumers: int
    slow_consumers_of_late: int
    errors: int


class Count(Struct, frozen=True, tag="count"):
    """How many connections a user has, or the node began to close."""

    number: int


class Client(Struct, frozen=True, kw_only=True):
    """One connection; `subscriptions` are the first names, and `subscription_count` is the number of all."""

    connection_id: str
    user_id: str | None
    role: str
    ip: str
    user_agent: str | None
    connected_at: str
    expires_at: str
    subscriptions: list[str]
    subscription_count: int
    queue_bytes: int
    messages_in: int
    messages_out: int


class Clients(Struct, frozen=True, tag="clients"):
    """Connections in the order of their ids; `more` is whether others follow."""

    clients: list[Client]
    more: bool


class Channels(Struct, frozen=True, tag="channels"):
    """Channels in the order of their names, each with its number of subscribers."""

    channels: list[tuple[str, int]]
    more: bool


Answer = Stats | Count | Clients | Channels

ANSWER_OF: dict[type, type] = {
    AskStats: Stats,
    AskCount: Count,
    AskClients: Clients,
    AskChannels: Channels,
    AskDisconnect: Count,
}


class Asked(Struct, frozen=True, kw_only=True, tag="asked"):
    """A question of `node`, which waits for the answer under `id`."""

    id: Id
    node: Id
    project: Annotated[str, Meta(max_length=63)]
    question: Question


class Answered(Struct, frozen=True, kw_only=True, tag="answered"):
    """The answer of `node` to the question `id`."""

    id: Id
    node: Id
    answer: Answer


_decoder = msgspec.json.Decoder(Asked | Answered)
_encoder = msgspec.json.Encoder()


def read(data: bytes) -> Asked | Answered | None:
    """Decode a message; None if no node of this version could have sent it."""
    if len(data) > MAX_MESSAGE_BYTES:
        return None
    try:
        message: Asked | Answered = _decoder.decode(data)
    except (ValueError, RecursionError):
        return None
    return message


def written(message: Asked | Answered) -> bytes:
    return _encoder.encode(message)


def is_id(node: str) -> bool:
    """Whether a node could have this id: anybody may write reports into Redis."""
    return ID.fullmatch(node) is not None


def size_of(entry: object) -> int:
    """Return the bytes that an entry takes in a message."""
    return len(_encoder.encode(entry))

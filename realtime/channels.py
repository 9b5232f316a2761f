"""Parse channel names: which topic, table and event a name stands for.

Names come from clients, REST bodies and the outbox; a `Channel` goes to the session and the hub.
This module never folds case, and never checks whether a table exists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from realtime.errors import ClientError, Code

MAX_CHANNEL_BYTES = 255

TopicKey = tuple[str, str]  # project id, topic


class Event(StrEnum):
    """What happened to a row."""

    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True, order=True)
class Table:
    """A table by its unquoted names, as Postgres' catalogue stores them."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{_quoted_if_needed(self.schema)}.{_quoted_if_needed(self.name)}"

    @property
    def topic(self) -> str:
        """The topic of this table's changes, in its one canonical spelling."""
        return f"table:{self}"


@dataclass(frozen=True, slots=True)
class Channel:
    """A valid channel: `name` as the client spelled it, `topic` that carries its messages.

    `table:users` and `table:public.users:INSERT` are two channels of the topic `table:public.users`.
    """

    name: str
    topic: str
    table: Table | None = None
    event: Event | None = None

    @property
    def canonical(self) -> str:
        """One spelling for all names of this channel: quotes only where needed, and never `public.`."""
        if self.table is None:
            return self.name
        name = _quoted_if_needed(self.table.name) if self.table.schema == "public" else str(self.table)
        return f"table:{name}:{self.event}" if self.event else f"table:{name}"

    @property
    def namespace(self) -> str:
        """The part of the name before the first colon."""
        return self.name.partition(":")[0]


def is_nameable(table: Table) -> bool:
    """Whether a channel can name a table: a channel has only printable characters, at most 255 bytes."""
    spelling = f"table:{_quoted_if_needed(table.name)}" if table.schema == "public" else table.topic
    try:
        return parse_channel(spelling).table == table
    except ClientError:
        return False


def parse_channel(name: str) -> Channel:
    """Return the channel that `name` means; raise ClientError `invalid_channel` with the reason."""
    _check_characters(name)
    namespace, colon, rest = name.partition(":")
    if name == "presence":
        return Channel(name, name)
    if not colon or not namespace or not rest:
        raise _invalid(name, "expected table:NAME, presence or NAMESPACE:TOPIC")
    if namespace == "presence":
        if parse_channel(rest).namespace == "presence":
            raise _invalid(name, "presence has no presence of its own")
        return Channel(name, name)
    if namespace == "table":
        table, event = _parse_table(name, rest)
        return Channel(name, table.topic, table, event)
    return Channel(name, name)


def is_table_topic(topic: str) -> bool:
    """Whether a topic carries the changes of a table; only these topics have a database as their source."""
    return topic.startswith("table:")


def is_presence_topic(topic: str) -> bool:
    """Whether a topic carries presence messages."""
    return topic.partition(":")[0] == "presence"


def parse_broadcast_channel(name: str) -> Channel:
    """Return the channel if clients may broadcast to it; raise ClientError `forbidden` if they may not."""
    channel = parse_channel(name)
    if channel.namespace in ("table", "presence"):
        raise ClientError(Code.FORBIDDEN, f"clients cannot broadcast to {channel.namespace} channels")
    return channel


def presence_topic(name: str | None) -> str:
    """Return the presence topic of a scope: a channel without `presence:`, or None for the project."""
    return "presence" if name is None else parse_channel(f"presence:{name}").topic


_IDENTIFIER = r'"((?:[^"]|"")+)"|([^".:][^.:]*)'
_TABLE = re.compile(rf"(?:(?:{_IDENTIFIER})\.)?(?:{_IDENTIFIER})(?::(INSERT|UPDATE|DELETE))?")


_TABLE_HELP = (
    "expected table:NAME, table:SCHEMA.NAME or one of these with :INSERT, :UPDATE or :DELETE; "
    'a name with "." or ":" stands in double quotes'
)


def _parse_table(name: str, rest: str) -> tuple[Table, Event | None]:
    match = _TABLE.fullmatch(rest)
    if match is None:
        raise _invalid(name, _TABLE_HELP)
    quoted_schema, bare_schema, quoted_table, bare_table, event = match.groups()
    schema = _unquoted(quoted_schema) or bare_schema or "public"
    return Table(schema, _unquoted(quoted_table) or bare_table), Event(event) if event else None


def _unquoted(inner: str | None) -> str | None:
    return inner and inner.replace('""', '"')


def _quoted_if_needed(identifier: str) -> str:
    ends_in_space = identifier != identifier.strip()
    if "." in identifier or ":" in identifier or identifier.startswith('"') or ends_in_space:
        return '"' + identifier.replace('"', '""') + '"'
    return identifier


# Characters that emoji and scripts need although Python does not call them printable. The pattern admits
# nothing that changes how the text around it looks: controls, direction overrides, zero-width spaces.
_JOINING = re.compile(
    # a joiner, a non-joiner or the Mongolian vowel separator, after a character of a script or an emoji
    r"(?<=[^\x00-\x7f\u200c\u200d\u180e])[\u200c\u200d\u180e]"
    # a flag made of tags, as Scotland's: a black flag, the tags, the end tag
    r"|(?<=\U0001f3f4)[\U000e0020-\U000e007e]+\U000e007f"
    # signs above numbers and similar: visible, although Unicode calls them format characters
    r"|[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd]"
    # ranges in which Unicode versions newer than this Python's add pictographs and ideographs
    r"|[\U0001f000-\U0001faff\U00020000-\U0002fffd\U00030000-\U0003fffd]"
)


def _check_characters(name: str) -> None:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise _invalid(name, "not valid Unicode") from None
    if not 1 <= size <= MAX_CHANNEL_BYTES:
        raise ClientError(
            Code.INVALID_CHANNEL, f"a channel name has 1 to {MAX_CHANNEL_BYTES} bytes, this one has {size}"
        )
    if not _JOINING.sub("", name).isprintable() or name != name.strip():
        raise _invalid(name, "only printable characters, no spaces at either end")


def _invalid(name: str, reason: str) -> ClientError:
    return ClientError(Code.INVALID_CHANNEL, f"{name!a} is not a channel: {reason}")

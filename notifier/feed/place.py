"""Where a feed stands, as the database tells it.

The row is this program's own, but the owner of schema `realtime` may have written to it, or given its columns
other types. What this program never writes is refused by name, before anything is built on it. Knows no SQL.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from notifier.feed.snapshots import Snapshot, parse_snapshot
from realtime.errors import RealtimeError

MAX_TOKEN = 200  # characters; no token or checkpoint of ours has half as many


class UnreadableFeed(RealtimeError):
    """What stands in schema realtime is not what this program writes: somebody else has changed it."""

    def __init__(self, where: str, found: object) -> None:
        super().__init__(where, found)
        self.where = where
        self.found = found

    def __str__(self) -> str:
        return f"realtime.{self.where} has {self.found!r:.100}, which this program never writes"


class Fields(Protocol):
    """A row, whose columns may have any type."""

    def __getitem__(self, column: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Place:
    """A row of `place.sql`."""

    row: Any  # where the feed's row is
    number: int  # of the batch that was stored last
    token: str
    s1: Snapshot
    s2: Snapshot
    elsewhere: bool  # the feed is that of another database
    commit_times: bool  # the database tracks them


def read_place(found: Fields) -> Place:
    """Read the feed's row; raises UnreadableFeed."""
    number = found["batch"]
    if type(number) is not int or number < 0:
        raise UnreadableFeed("feed.batch", number)
    return Place(
        row=found["place"],
        number=number,
        token=_short_text("feed.token", found["token"]),
        s1=_snapshot("feed.s1", found["s1"]),
        s2=_snapshot("feed.s2", found["s2"]),
        elsewhere=bool(found["elsewhere"]),
        commit_times=bool(found["commit_times"]),
    )


def read_checkpoints(rows: Iterable[Iterable[object]]) -> dict[str, str]:
    """Read the checkpoint of each topic; raises UnreadableFeed."""
    return {_text("mark.topic", topic): _short_text("mark.mark", mark) for topic, mark in rows}


def _snapshot(where: str, found: object) -> Snapshot:
    try:
        snapshot = parse_snapshot(_text(where, found))
    except ValueError:
        raise UnreadableFeed(where, found) from None
    if not 0 <= snapshot.xmin <= snapshot.xmax or list(snapshot.running) != sorted(set(snapshot.running)):
        raise UnreadableFeed(where, found)
    return snapshot


def _short_text(where: str, found: object) -> str:
    if len(text := _text(where, found)) > MAX_TOKEN:
        raise UnreadableFeed(where, text)
    return text


def _text(where: str, found: object) -> str:
    if not isinstance(found, str):
        raise UnreadableFeed(where, found)
    return found

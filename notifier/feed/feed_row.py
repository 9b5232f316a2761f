"""The row of a feed in the database, and the checkpoints of its topics.

This program writes the row, but the owner of schema `realtime` may have changed its values or the types of
its columns. A value that this program never writes is refused by name before it is used. Knows no SQL.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from notifier.feed.snapshots import Snapshot, parse_snapshot
from realtime.errors import RealtimeError

MAX_TOKEN = 200  # characters; our tokens and checkpoints have less than half as many


class UnreadableFeed(RealtimeError):
    """Schema realtime has a value that this program never writes: another role has changed it."""

    def __init__(self, where: str, found: object) -> None:
        super().__init__(where, found)
        self.where = where
        self.found = found

    def __str__(self) -> str:
        return f"realtime.{self.where} has {self.found!r:.100}, which this program never writes"


class Fields(Protocol):
    """A database row whose columns may have any type."""

    def __getitem__(self, column: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class FeedRow:
    """The row that `feed_row.sql` reads."""

    ctid: Any  # the physical address of the row in its table
    number: int  # of the batch that was stored last
    token: str
    s1: Snapshot
    s2: Snapshot
    elsewhere: bool  # the feed belongs to another database
    commit_times: bool  # the database tracks commit times
    is_text: bool  # the database checks that texts are text


def read_feed_row(found: Fields) -> FeedRow:
    """Check the feed's row and return it as a FeedRow; raises UnreadableFeed."""
    number = found["batch"]
    if type(number) is not int or number < 0:
        raise UnreadableFeed("feed.batch", number)
    return FeedRow(
        ctid=found["ctid"],
        number=number,
        token=_short_text("feed.token", found["token"]),
        s1=_snapshot("feed.s1", found["s1"]),
        s2=_snapshot("feed.s2", found["s2"]),
        elsewhere=bool(found["elsewhere"]),
        commit_times=bool(found["commit_times"]),
        is_text=bool(found["is_text"]),
    )


def read_checkpoints(rows: Iterable[Iterable[object]]) -> dict[str, str]:
    """Check and return the checkpoint of each topic; raises UnreadableFeed."""
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

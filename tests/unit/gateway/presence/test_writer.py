"""What a project's quota counts of the presence that Redis is told of, or fails to take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.presence.pending import Pending
from gateway.presence.timings import PresenceTimings
from gateway.presence.writer import PresenceWriter
from gateway.projects.presence_quota import ENTRY_BYTES, PresenceQuota
from gateway.session.presence import Presence
from realtime.errors import ClientError, Unavailable
from realtime.settings.config import Limits
from tests.change_stream import background

TOPIC, ENTRY = "presence:room:a", b"x" * 100


class Store:
    """Redis, which is away or not."""

    def __init__(self) -> None:
        self.is_away = False

    async def note_topics(self, *_: Any) -> None:
        pass

    async def change(self, *_: Any) -> None:
        if self.is_away:
            raise Unavailable("Redis cannot be reached now")


class EntryPresence(Presence):
    """A presence with an entry of the test's own."""

    now: bytes | None = None

    def entry(self) -> bytes | None:
        return self.now


def presence_of(connection_id: str, topic: str) -> EntryPresence:
    return EntryPresence("demo", topic, connection_id)


class Play:
    def __init__(self) -> None:
        self.store = Store()
        node = SimpleNamespace(incarnation="node-1", earlier=[])
        self.writer = PresenceWriter(cast(Any, self.store), cast(Any, node), cast(Any, None), lambda _: True)
        limits = Limits(max_presence_bytes=ENTRY_BYTES + len(ENTRY))
        self.tenant: Any = SimpleNamespace(project_id="demo", limits=limits, presence=PresenceQuota())
        self._presences: dict[tuple[str, str], Any] = {}

    async def set(self, connection_id: str, entry: bytes | None, topic: str = TOPIC) -> None:
        presence = self._presences.setdefault((connection_id, topic), presence_of(connection_id, topic))
        presence.now = entry
        await self.writer.set(self.tenant, presence)

    async def has_room(self) -> bool:
        try:
            await self.set("other", ENTRY)
        except ClientError:
            return False
        return True


@pytest.fixture
async def play() -> AsyncIterator[Play]:
    play = Play()
    async with background(asyncio.create_task(play.writer.run(), name="presence")):
        yield play


async def test_who_leaves_makes_room(play):
    await play.set("c", ENTRY)
    assert not await play.has_room()
    await play.set("c", None)
    assert await play.has_room()


async def test_who_fails_to_leave_counts_still(play):
    await play.set("c", ENTRY)
    play.store.is_away = True
    with pytest.raises(Unavailable):
        await play.set("c", None)
    play.store.is_away = False
    assert not await play.has_room()
    await play.set("c", None)
    assert await play.has_room()


async def test_however_many_places_become_empty_one_timer_waits_for_them(play):
    """Clients decide how many places there are."""
    play.tenant.limits = Limits(max_presence_bytes=0)
    scheduled = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    for entry in (ENTRY, None):
        await asyncio.gather(*(play.set("c", entry, f"presence:{number}") for number in range(500)))
    assert len(play.writer._left_at) == 500
    assert len(scheduled) < 50


async def test_a_restore_that_is_dropped_with_all_others_ends(play):
    """The node writes all entries again under its next incarnation."""
    entries, dropped = [ENTRY], []
    play.store.is_away = True
    pending = Pending(lambda: None, PresenceTimings(retry_seconds=0, most_pending=0, patience_seconds=-1))
    play.writer._pending = pending
    play.writer.restore(presence_of("c", TOPIC), lambda: entries[-1], lambda: dropped.append("dropped"))
    entries.append(b"another")
    pending.add(asyncio.get_running_loop().create_future, of_the_gone=True)
    assert dropped == ["dropped"]

"""One client's presence while Redis takes writes, refuses them, or takes them and does not say so.

Whatever happens, in the end Redis has what the session has, the quota counts just that, and nothing is
remembered of topics that the client has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.presence.change import Change, field_of
from gateway.presence.pending import Pending
from gateway.presence.timings import PresenceTimings
from gateway.presence.writer import PresenceWriter
from gateway.projects.presence_quota import ENTRY_BYTES, PresenceQuota
from gateway.session.effects import Effect, SetPresence
from gateway.session.session import Session, SessionRules
from gateway.websocket.publishing import ClientPublishing, RedisWriters
from gateway.wire.commands import UpdatePresence
from realtime.auth.tokens import Identity
from realtime.channels import TopicKey
from realtime.errors import Unavailable
from realtime.settings.config import Limits
from realtime.waiting.survival import Part
from tests.change_stream import DEADLINE, background

INCARNATION = "node-1"
PROJECT, CLIENT = "demo", "c-1"
CHANNELS = ["room:a", "room:b", "room:c"]
TIMINGS = PresenceTimings(retry_seconds=0.0)
STEPS = 40


class Redis:
    """The entries of all topics; a write may fail before or after they have changed."""

    def __init__(self, random: Random) -> None:
        self.entries: dict[tuple[TopicKey, str], bytes] = {}
        self.is_shaky = True
        self._random = random

    async def note_topics(self, *_: Any) -> None:
        await asyncio.sleep(0)

    async def change(self, changes: Mapping[TopicKey, Sequence[Change]]) -> None:
        await asyncio.sleep(0)
        fails = self.is_shaky and self._random.random() < 0.5
        if fails and self._random.random() < 0.5:
            raise Unavailable("refused")
        for topic_key, of_topic in changes.items():
            for change in of_topic:
                if change.entry is None:
                    self.entries.pop((topic_key, change.field), None)
                else:
                    self.entries[topic_key, change.field] = change.entry
        if fails:
            raise Unavailable("taken, but not acknowledged")


class Story:
    """A client that joins, changes and leaves as it likes."""

    def __init__(self, random: Random) -> None:
        self.redis, self.quota = Redis(random), PresenceQuota()
        limits = Limits(max_presence_bytes=3 * (ENTRY_BYTES + 250))
        tenant: Any = SimpleNamespace(project_id=PROJECT, limits=limits, presence=self.quota)
        node: Any = SimpleNamespace(incarnation=INCARNATION, earlier=[])
        self.pending = Pending(lambda: None, TIMINGS)
        self.writer = PresenceWriter(cast(Any, self.redis), node, self.pending, lambda _: True, TIMINGS)
        identity = Identity("alice", "authenticated", 2e9, {})
        self.session = Session(PROJECT, CLIENT, identity, SessionRules(limits), 0.0)
        writers = RedisWriters(cast(Any, None), self.writer)
        self.client = ClientPublishing(tenant, self.session, writers, Part("a story"))

    async def play(self, random: Random) -> None:
        for now in range(STEPS):
            state = None if random.random() < 0.4 else b'{"pad":"%s"}' % (b"x" * random.randrange(100))
            command = UpdatePresence(state, random.choice(CHANNELS))
            await self._carry_out(self.session.received(command, float(now)))
            for _ in range(random.randrange(4)):
                await asyncio.sleep(0)  # writes that are retried get on meanwhile, or not
        self.redis.is_shaky = False

    async def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, SetPresence):
                await self.client.set_presence(effect, self._carry_out)

    async def settle(self) -> None:
        async with asyncio.timeout(DEADLINE):
            await self.pending.settle()
            await self.writer.settle()

    def expected(self) -> dict[tuple[TopicKey, str], bytes]:
        """What the session has, as Redis should have it."""
        field = field_of(INCARNATION, CLIENT)
        return {(one.topic_key, field): one.entry() or b"" for one in self.session.presences}


@pytest.mark.parametrize("seed", range(100))
async def test_in_the_end_redis_and_the_quota_have_what_the_session_has(seed: int) -> None:
    random = Random(seed)
    story = Story(random)
    async with background(asyncio.create_task(story.writer.run(), name="presence")):
        await story.play(random)
        await story.settle()
        assert story.redis.entries == story.expected()
        counted = sum(len(entry) + ENTRY_BYTES for entry in story.redis.entries.values())
        quota = f"<PresenceQuota {len(story.redis.entries)} entries, {counted} bytes>"
        assert repr(story.quota) == quota
        assert all(one.is_confirmed for one in story.session.presences)
        story.client.end_presence()
        await story.settle()
    assert story.redis.entries == {}
    assert repr(story.quota) == "<PresenceQuota 0 entries, 0 bytes>"
    assert all(map(story.session.presences.is_settled_absence, [f"presence:{one}" for one in CHANNELS]))

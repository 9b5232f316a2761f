"""Who is present, as REST tells it: few lists are built at once, and all who ask meanwhile share one.

Handlers ask; entries come from Redis and leave as one body for all. A list that was begun before somebody
asked is never given to it: it tells of what was acknowledged before that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

from gateway.hub.roster import Roster
from gateway.presence.stores import Stores
from realtime.channels import TopicKey
from realtime.errors import Unavailable
from realtime.logs.setup import shared_context

AT_ONCE = 2  # lists that are built on a node; one takes three times its size meanwhile, 100 MB at the worst
TURN_SECONDS = 5.0  # for a list to wait until it is built

Counted = Callable[[int], AbstractContextManager[None]]


class PresenceLists:
    """Answers to `GET /presence`, by topic."""

    def __init__(self, stores: Stores, counted: Counted) -> None:
        self._stores = stores
        self._counted = counted  # while bytes are made into a body
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._next: dict[TopicKey, asyncio.Task[bytes]] = {}  # not begun yet: whoever asks shares them

    def __repr__(self) -> str:
        return f"<PresenceLists {len(self._next)} wait for their turn>"

    async def get(self, key: TopicKey) -> bytes:
        """Return the JSON of the answer; raises Unavailable."""
        if (answer := self._next.get(key)) is None:
            answer = asyncio.create_task(
                self._in_turn(key), name="build a presence list", context=shared_context()
            )
            # Those who asked may be gone when it fails.
            answer.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._next[key] = answer
        return await asyncio.shield(answer)

    async def _in_turn(self, key: TopicKey) -> bytes:
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError as error:
            raise Unavailable("too many ask who is present; try again later") from error
        finally:
            del self._next[key]
        try:
            return await self._build(key)
        finally:
            self._turns.release()

    async def _build(self, key: TopicKey) -> bytes:
        project, topic = key
        _, members = await self._stores.presence.members(project, topic)
        size = sum(map(len, members.values()))
        with self._counted(2 * size):  # the entries, and the body that is made of them
            known = await self._stores.nodes.all()
            dead = {incarnation.encode() for incarnation, report in known.items() if report is None}
            roster = Roster(topic)
            roster.replace({f: entry for f, entry in members.items() if f.partition(b"/")[0] not in dead})
            entries = roster.entries()
            # Entries are passed on as they are, so that states keep every digit.
            return b'{"count":%d,"presences":[%b]}' % (len(entries), b",".join(entries))

"""Catches one topic up with Redis: the messages that it missed are read from history, a page at a time.

A round begins when a subscription is confirmed and after every hole; it ends when nothing is missing, or when
the topic is lost or closed meanwhile. Steps go to the topic's queue, before anything newer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway import metrics
from gateway.broker import Broker
from gateway.delivery.open_topic import OpenTopic, TopicChange
from gateway.delivery.timings import DeliveryTimings
from gateway.hub.topic import TopicState
from gateway.presence.presence_store import PresenceStore
from realtime.causes.sentence import why
from realtime.errors import Unavailable
from realtime.logs.setup import get_logger
from realtime.publications import Position
from realtime.waiting.survival import Part

log = get_logger(__name__)

CATCHING_UP_AT_ONCE = 32

_part = Part("subscriber")


class CatchingUp:
    """Reads the messages that topics missed."""

    def __init__(
        self,
        broker: Broker,
        presence: PresenceStore,
        move: Callable[[OpenTopic, TopicChange], None],
        timings: DeliveryTimings,
    ) -> None:
        self._broker = broker
        self._presence = presence
        self._move = move
        self._timings = timings
        self._turn = asyncio.Semaphore(CATCHING_UP_AT_ONCE)

    def __repr__(self) -> str:
        return f"<CatchingUp {self._turn!r}>"

    async def run(self, one: OpenTopic, mine: object) -> None:
        """Catch a topic up from history until nothing is missing.

        The round ends if the topic is lost or closed meanwhile: the next confirmation starts a new round.
        """
        while one.is_in(mine):
            await one.queue.room()
            try:
                async with self._turn:
                    await self._read_missed(one, mine)
            except Unavailable as error:
                # Perhaps only this topic fails: its slot may be moving to another server.
                project, topic = one.key
                log.debug("catching_up_failed", project=project, topic=topic, error=why(error))
                await asyncio.sleep(self._timings.catch_up_retry_seconds)
            except Exception as error:
                _part.note(error, str(one.key))
                if one.is_in(mine):
                    self._move(one, TopicChange.FAILED)  # the same history would fail again
                await asyncio.sleep(self._timings.broken_seconds)

    async def _read_missed(self, one: OpenTopic, mine: object) -> None:
        """Read until nothing is missing, or until the queue has no room."""
        while one.is_in(mine) and one.queue.has_room:
            if one.topic.is_live:
                self._move(one, TopicChange.CAUGHT_UP)
            elif one.topic.roster is not None:
                await self._read_roster(one, mine)
            else:
                await self._read_history(one, mine)

    async def _read_roster(self, one: OpenTopic, mine: object) -> None:
        at, members = await self._presence.members(*one.key)
        if one.is_in(mine):
            one.queue.put(one.topic.roster_read(at, members))

    async def _read_history(self, one: OpenTopic, mine: object) -> None:
        position = await self._broker.position(*one.key)
        is_lost = False
        if one.topic.state is TopicState.BEHIND:
            is_lost = one.is_broken or not await self._read_pages(one, position, mine)
        if one.is_in(mine) and one.queue.has_room:
            if is_lost:
                metrics.resyncs.inc()
            one.is_broken = False
            one.queue.put(one.topic.caught_up(position, is_lost=is_lost))

    async def _read_pages(self, one: OpenTopic, until: Position, mine: object) -> bool:
        """Order the missed messages page by page while there is room; False: history does not reach."""
        topic = one.topic
        if topic.ordered.epoch != until.epoch or topic.ordered.offset > until.offset:
            return False
        while one.is_in(mine) and one.queue.has_room and topic.ordered.offset < until.offset:
            page = await self._broker.page(*one.key, since=topic.ordered, until=until.offset)
            if page is None:
                return False
            if one.is_in(mine):
                one.queue.put(topic.missed(page))
        return True

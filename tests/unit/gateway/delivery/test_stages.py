"""A stage that waits between a topic's order and its delivery: what follows waits behind it, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from gateway.delivery.recovery import Recovery
from gateway.delivery.stages import MAX_QUEUED_BYTES, Stages, TopicQueue
from gateway.hub.hub import deliver
from gateway.hub.replay_cache import ReplayBudget
from gateway.hub.subscribers import subscription
from gateway.hub.topic import Step, Topic, TopicState, size_of
from realtime.channels import TopicKey, parse_channel
from realtime.publications import Position, Publication
from tests.gateway_fixture import eventually
from tests.hub_fixture import KEY, NATIVE, at, payloads, publication
from tests.unit.gateway.delivery.test_recovery import Redis, Tenant


class Slow:
    """A stage that has to look up what it has not seen, and is given the answers by the test."""

    def __init__(self, needed: Callable[[Publication], bool] = lambda _: True) -> None:
        self._needed = needed
        self._known: set[int] = set()
        self.asked: list[int] = []  # offsets, in order
        self.answers: asyncio.Queue[Exception | None] = asyncio.Queue()

    def needs(self, key: TopicKey, publication: Publication) -> bool:
        return self._needed(publication) and publication.last not in self._known

    async def prepare(self, key: TopicKey, publication: Publication) -> None:
        self.asked.append(publication.last)
        if (error := await self.answers.get()) is not None:
            raise error
        self._known.add(publication.last)

    def answer(self, count: int = 1) -> None:
        for _ in range(count):
            self.answers.put_nowait(None)


class Play:
    """A live topic at e-5 with a subscriber, and the queue between the two."""

    def __init__(self, *stages: Slow, max_queued_bytes: int = MAX_QUEUED_BYTES) -> None:
        self.heard: list[str] = []
        self.failures: list[Exception] = []
        self.topic: Topic[str] = Topic(KEY[1])
        self.topic.caught_up(at(5))
        self.topic.subscribers.add(subscription("ann", parse_channel("table:users"), "ann", NATIVE))
        waiting = Stages(stages, max_queued_bytes)
        self.queue = TopicQueue(KEY, self.topic, waiting, self._deliver, self.failures.append)

    def _deliver(self, step: Step) -> None:
        for delivery in deliver(self.topic, step):
            for message in payloads(b"".join(delivery.pieces)):
                self.heard.append(message.get("id") or f"resync {message['position']}")

    def publish(self, *publications: Publication) -> None:
        for each in publications:
            self.queue.put(self.topic.received(each))


async def test_where_no_stage_is_there_nothing_is_queued():
    play = Play()
    play.publish(publication(6), publication(7, 9))
    assert play.heard == ["e-6", "e-7", "e-8", "e-9"]
    assert (len(play.queue), play.queue.has_room, len(asyncio.all_tasks())) == (0, True, 1)


async def test_where_no_stage_is_needed_nothing_is_queued():
    stage = Slow(lambda _: False)
    play = Play(stage)
    play.publish(publication(6), publication(7))
    assert play.heard == ["e-6", "e-7"]
    assert (len(play.queue), stage.asked, len(asyncio.all_tasks())) == (0, [], 1)


async def test_what_follows_a_publication_that_waits_is_delivered_after_it():
    stage = Slow(lambda one: one.first == 6)
    play = Play(stage)
    play.publish(publication(6), publication(7), publication(8))
    await eventually(lambda: stage.asked)
    assert (play.heard, play.topic.ordered, play.topic.position) == ([], at(8), at(5))
    stage.answer()
    await eventually(lambda: play.heard)
    assert (play.heard, play.topic.position, play.topic.queued_bytes) == (["e-6", "e-7", "e-8"], at(8), 0)
    play.publish(publication(9))
    assert (play.heard[-1], len(play.queue)) == ("e-9", 0)


async def test_each_waits_for_its_own_answer():
    stage = Slow()
    play = Play(stage)
    play.publish(publication(6), publication(7))
    stage.answer()
    await eventually(lambda: play.heard == ["e-6"] and stage.asked == [6, 7])
    stage.answer()
    await eventually(lambda: play.heard == ["e-6", "e-7"])


async def test_all_stages_are_asked_one_after_the_other():
    first, second = Slow(), Slow()
    play = Play(first, second)
    play.publish(publication(6))
    await eventually(lambda: first.asked)
    assert second.asked == []
    first.answer()
    await eventually(lambda: second.asked)
    assert play.heard == []
    second.answer()
    await eventually(lambda: play.heard == ["e-6"])


async def test_live_catching_up_and_resync_enter_at_the_same_point():
    stage = Slow(lambda one: one.first == 6)
    play = Play(stage)
    play.publish(publication(6), publication(9))
    assert play.topic.state is TopicState.BEHIND
    play.queue.put(play.topic.missed([publication(7), publication(8)]))
    play.queue.put(play.topic.caught_up(at(20), is_lost=True))
    play.publish(publication(21))
    assert play.heard == []
    stage.answer()
    await eventually(lambda: len(play.queue) == 0)
    assert play.heard == ["e-6", "e-7", "e-8", "resync e-20", "e-21"]


async def test_who_joins_meanwhile_hears_from_where_the_others_are():
    stage = Slow()
    play = Play(stage)
    play.publish(publication(6))
    await eventually(lambda: stage.asked)
    assert play.topic.position == at(5)  # which a newcomer is told
    play.topic.subscribers.add(subscription("bob", parse_channel("table:public.users"), "bob", NATIVE))
    stage.answer()
    await eventually(lambda: play.heard == ["e-6", "e-6"])


async def test_a_topic_with_more_than_may_wait_falls_behind_and_goes_back():
    stage = Slow()
    play = Play(stage, max_queued_bytes=3 * size_of(publication(6)))
    play.publish(*(publication(offset) for offset in range(6, 12)))
    assert (play.topic.state, play.topic.ordered, len(play.queue)) == (TopicState.BEHIND, at(5), 0)
    assert (play.topic.queued_bytes, play.queue.has_room) == (0, True)
    stage.answer(10)
    play.queue.put(play.topic.missed([publication(6, 7)]))
    play.queue.put(play.topic.caught_up(at(7)))
    await eventually(lambda: play.heard == ["e-6", "e-7"])


async def test_who_catches_up_waits_while_much_waits():
    stage = Slow()
    play = Play(stage, max_queued_bytes=4 * size_of(publication(6)))
    play.topic.lose()
    play.queue.put(play.topic.missed([publication(6), publication(7), publication(8)]))
    assert not play.queue.has_room
    waiting = asyncio.create_task(play.queue.room())
    stage.answer(3)
    await waiting
    await eventually(lambda: play.heard == ["e-6", "e-7", "e-8"])


async def test_a_stage_that_fails_is_told_and_nothing_behind_it_is_delivered():
    stage = Slow(lambda one: one.first == 6)
    play = Play(stage)
    play.publish(publication(6), publication(7))
    stage.answers.put_nowait(ValueError("no rights"))
    await eventually(lambda: play.failures)
    assert play.heard == []
    play.queue.give_up()
    assert (play.topic.state, play.topic.ordered) == (TopicState.BEHIND, at(5))
    play.queue.put(play.topic.caught_up(at(7), is_lost=True))
    assert play.heard == ["resync e-7"]


async def test_a_queue_that_is_closed_delivers_nothing_more():
    stage = Slow()
    play = Play(stage)
    play.publish(publication(6), publication(7))
    await eventually(lambda: stage.asked)
    play.queue.close()
    stage.answer(2)
    await eventually(lambda: len(asyncio.all_tasks()) == 1)
    assert (play.heard, play.topic.queued_bytes) == ([], 0)


@pytest.mark.parametrize("is_slow", [False, True])
async def test_a_replay_waits_for_the_stage_before_a_slice_is_at_hand(is_slow):
    redis, stage, channel = Redis(10), Slow(lambda _: is_slow), parse_channel("room:a")
    redis.open.set()
    topic: Topic[Any] = Topic(channel.topic)
    topic.caught_up(Position("e", 10))
    recovery = Recovery(cast(Any, redis), ReplayBudget(10**9), Stages([stage]))
    finding = asyncio.create_task(recovery.find(cast(Any, Tenant()), channel, topic, Position("e", 7)))
    if is_slow:
        for offset in (8, 9, 10):
            await eventually(lambda offset=offset: stage.asked and stage.asked[-1] == offset)
            assert not finding.done()
            stage.answer()
    assert await finding
    assert topic.replay_cache is not None
    pieces, _ = topic.replay_cache.slice(subscription("ann", channel, "ann", NATIVE), 7)
    assert [message["id"] for message in payloads(b"".join(pieces))] == ["e-8", "e-9", "e-10"]
    assert stage.asked == ([8, 9, 10] if is_slow else [])

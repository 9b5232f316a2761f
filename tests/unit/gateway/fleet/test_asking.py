"""Questions to other nodes, with a Redis of the test's own: who answers, who is gone, who is not believed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from gateway import metrics
from gateway.fleet.asking import Asking
from gateway.fleet.messages import Answered, AskCount, AskStats, Channels, Count, read
from realtime import names
from realtime.errors import Unavailable
from realtime.redis.client import Command
from tests.gateway_fixture import eventually

LONG = 30.0


class Inbox:
    node_id = "0a"
    is_heard = True


class Redis:
    """Takes publications; `listeners` are those of each inbox."""

    def __init__(self) -> None:
        self.listeners: dict[str, Any] = {}
        self.sent: list[tuple[str, Any]] = []
        self.is_away = False

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        if self.is_away:
            raise Unavailable("away")
        found = []
        for command in commands:
            _, inbox, data = command.words
            self.sent.append((str(inbox), read(cast(bytes, data))))
            found.append(self.listeners.get(str(inbox), 0))
        return found


@pytest.fixture
def redis() -> Redis:
    redis = Redis()
    redis.listeners = {names.node_inbox(node): 1 for node in ("1a", "1b")}
    return redis


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def asking(redis: Redis, inbox: Inbox) -> Asking:
    return Asking(cast(Any, redis), cast(Any, inbox))


def ask(asking: Asking, *nodes: str, seconds: float = LONG) -> asyncio.Task[Any]:
    return asyncio.create_task(asking.ask("demo", dict.fromkeys(nodes, AskCount("alice")), seconds))


async def test_the_answers_are_those_of_the_nodes_that_were_asked(asking, redis):
    task = ask(asking, "1a", "1b")
    await eventually(lambda: len(redis.sent) == 2)
    assert [inbox for inbox, _ in redis.sent] == [names.node_inbox("1a"), names.node_inbox("1b")]
    (_, asked), _ = redis.sent
    assert (asked.node, asked.project, asked.question) == ("0a", "demo", AskCount("alice"))
    for node, number in (("1b", 2), ("1a", 1)):
        asking.take(Answered(id=asked.id, node=node, answer=Count(number)))
    assert await task == {"1a": Count(1), "1b": Count(2)}


async def test_a_node_that_nobody_hears_is_not_waited_for(asking, redis):
    redis.listeners[names.node_inbox("1b")] = 0
    task = ask(asking, "1a", "1b")
    await eventually(lambda: len(redis.sent) == 2)
    asking.take(Answered(id=redis.sent[0][1].id, node="1a", answer=Count(1)))
    assert await task == {"1a": Count(1)}
    assert await ask(asking, "gone") == {}


async def test_a_node_that_is_silent_is_waited_for_no_longer_than_allowed(asking, redis):
    task = ask(asking, "1a", "1b", seconds=0.05)
    await eventually(lambda: len(redis.sent) == 2)
    asking.take(Answered(id=redis.sent[0][1].id, node="1a", answer=Count(1)))
    assert await task == {"1a": Count(1)}


async def test_without_redis_nobody_answers_and_nobody_waits(asking, redis, inbox):
    redis.is_away = True
    assert await ask(asking, "1a") == {}
    inbox.is_heard = False
    assert await ask(asking, "1a") == {}
    assert redis.sent == []


async def test_an_answer_that_was_not_asked_for_changes_nothing_and_is_counted(asking, redis):
    ignored = metrics.fleet_messages_ignored._value.get()
    task = ask(asking, "1a")
    await eventually(lambda: redis.sent)
    question_id = redis.sent[0][1].id
    for wrong in (
        Answered(id="ff", node="1a", answer=Count(9)),  # to another question
        Answered(id=question_id, node="1b", answer=Count(9)),  # by a node that was not asked
        Answered(id=question_id, node="1a", answer=Channels([], False)),  # to another kind of question
    ):
        asking.take(wrong)
    asking.take(Answered(id=question_id, node="1a", answer=Count(1)))
    asking.take(Answered(id=question_id, node="1a", answer=Count(2)))  # a second time
    assert await task == {"1a": Count(1)}
    assert metrics.fleet_messages_ignored._value.get() == ignored + 4
    assert repr(asking) == "<Asking 0 questions>"


async def test_nobody_is_asked_when_there_is_nobody_to_ask(asking, redis):
    assert await asking.ask("demo", {}, LONG) == {}
    assert redis.sent == []


async def test_a_question_that_is_given_up_leaves_nothing_behind(asking, redis):
    task = asyncio.create_task(asking.ask("demo", {"1a": AskStats()}, LONG))
    await eventually(lambda: redis.sent)
    task.cancel()
    await asyncio.wait([task])
    assert repr(asking) == "<Asking 0 questions>"

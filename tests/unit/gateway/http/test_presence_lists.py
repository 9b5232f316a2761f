"""Who is present, as REST tells it: how many lists are built for how many who ask, and how fresh each is."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.http.presence_lists import AT_ONCE, TURN_SECONDS, PresenceLists
from realtime.errors import Unavailable
from realtime.publications import Position
from tests.gateway_fixture import eventually

KEY = ("demo", "presence")


class Store:
    """Redis, with as many present as there were changes; it answers when it may."""

    def __init__(self) -> None:
        self.there = 0
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.error: Exception | None = None

    async def members(self, project: str, topic: str) -> tuple[Position, dict[bytes, bytes]]:
        self.asked += 1
        there = self.there
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return Position("e", there), {b"node-1/%d" % number: b"{}" for number in range(there)}

    async def all(self) -> dict[str, object]:
        return {"node-1": "a report"}


class Play:
    def __init__(self, turn_seconds: float = TURN_SECONDS) -> None:
        self.store = Store()
        self.counted: list[int] = []
        self.lists = PresenceLists(
            cast(Any, SimpleNamespace(presence=self.store, nodes=self.store)), self.count, turn_seconds
        )

    @contextmanager
    def count(self, size: int) -> Any:
        self.counted.append(size)
        yield

    def ask(self, key: tuple[str, str] = KEY) -> asyncio.Task[bytes]:
        return asyncio.create_task(self.lists.get(key))


async def test_many_who_ask_at_once_share_one_body():
    play = Play()
    play.store.there = 3
    asking = [play.ask() for _ in range(100)]
    play.store.may_answer.set()
    bodies = await asyncio.gather(*asking)
    assert json.loads(bodies[0]) == {"count": 3, "presences": [{}] * 3}
    assert len({id(body) for body in bodies}) == play.store.asked == 1
    assert play.counted == [2 * 3 * len(b"{}")]


async def test_of_those_who_ask_while_lists_are_built_all_share_the_next_and_it_is_no_older_than_they():
    play = Play()
    asking = []
    for there in range(1, 101):
        play.store.there = there
        asking.append((there, play.ask()))
        await asyncio.sleep(0.001 if there <= AT_ONCE else 0)
    await eventually(lambda: play.store.asked == AT_ONCE)
    play.store.may_answer.set()
    found = [(there, json.loads(await answer)["count"]) for there, answer in asking]
    assert [count for there, count in found if count < there] == []
    assert play.store.asked == AT_ONCE + 1


async def test_few_lists_are_built_at_once_whatever_their_channels():
    play = Play()
    asking = [play.ask(("demo", f"presence:room:{number}")) for number in range(20)]
    for _ in range(100):
        await asyncio.sleep(0)
    assert play.store.asked == AT_ONCE
    play.store.may_answer.set()
    await asyncio.gather(*asking)
    assert play.store.asked == 20


async def test_a_list_whose_turn_does_not_come_is_unavailable_and_the_next_is_built():
    play = Play(turn_seconds=0.01)
    built = [play.ask((project, "presence")) for project in ("a", "b")]
    await eventually(lambda: play.store.asked == AT_ONCE)
    with pytest.raises(Unavailable):
        await play.ask()
    play.store.may_answer.set()
    await asyncio.gather(*built, play.ask())


async def test_a_list_that_fails_fails_for_all_who_asked_for_it_and_for_nobody_after():
    play = Play()
    play.store.error = Unavailable("Redis cannot be reached now")
    play.store.may_answer.set()
    assert {type(one) for one in await asyncio.gather(play.ask(), play.ask(), return_exceptions=True)} == {
        Unavailable
    }
    play.store.error = None
    await play.ask()


async def test_who_stops_asking_leaves_the_list_to_the_others():
    play = Play()
    gone, there = play.ask(), play.ask()
    await eventually(lambda: play.store.asked == 1)
    gone.cancel()
    play.store.may_answer.set()
    assert json.loads(await there)["count"] == 0

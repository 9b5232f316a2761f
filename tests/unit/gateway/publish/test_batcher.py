"""One item that nobody foresaw fails alone: the others of its batch are sent, in order, and none twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.publish.batcher import Batcher, Call
from realtime.errors import ClientError, Code, Unavailable
from tests.expressions import value

FAULTS = "realtime_unforeseen_faults_total"


class Redis:
    """Takes texts as bytes; it notes what arrived, and may fail with the answer on its way back."""

    def __init__(self, *, answers: bool = True) -> None:
        self.arrived: list[str] = []
        self._answers = answers

    def prepare(self, items: list[str]) -> Call:
        """Encode first, then send: a text that cannot be encoded is found before anything went out."""
        encoded = [item.encode() for item in items]

        async def send() -> None:
            self._take([item.decode() for item in encoded])

        return send

    def prepare_late(self, items: list[str]) -> Call:
        """Encode while sending: what came before in the batch is out already."""

        async def send() -> None:
            for item in items:
                self._take([item.encode().decode()])

        return send

    def _take(self, items: list[str]) -> None:
        self.arrived += items
        if not self._answers:
            raise ZeroDivisionError("the answer made no sense")


@asynccontextmanager
async def running(gatherer: Batcher[str]) -> AsyncIterator[None]:
    task = asyncio.create_task(gatherer.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def outcomes(gatherer: Batcher[str], items: list[str]) -> list[str]:
    """What became of each item: the code of its error, or "sent"."""
    futures = [gatherer.put(item) for item in items]
    await asyncio.wait(futures, timeout=10)
    failures = [one.exception() for one in futures]
    return [one.code if isinstance(one, ClientError) else "sent" for one in failures]


@pytest.mark.parametrize("bad", [0, 1, 7, 499, 998, 999])
async def test_an_item_that_cannot_be_encoded_fails_alone_before_anything_is_sent(bad):
    redis, before = Redis(), value(FAULTS, part="gatherer")
    items = [str(number) for number in range(1_000)]
    items[bad] = "\udcff"
    gatherer = Batcher(redis.prepare)
    async with running(gatherer):
        told = await outcomes(gatherer, items)
    assert [index for index, code in enumerate(told) if code != "sent"] == [bad]
    assert told[bad] is Code.INTERNAL
    assert redis.arrived == [item for item in items if item != "\udcff"]
    assert value(FAULTS, part="gatherer") == before + 1


async def test_many_bad_items_are_each_found_and_the_order_of_the_others_is_kept():
    redis = Redis()
    items = ["\udcff" if number % 3 == 0 else str(number) for number in range(100)]
    gatherer = Batcher(redis.prepare)
    async with running(gatherer):
        told = await outcomes(gatherer, items)
        assert await outcomes(gatherer, ["later"]) == ["sent"]
    assert told == [Code.INTERNAL if item == "\udcff" else "sent" for item in items]
    assert redis.arrived == [item for item in items if item != "\udcff"] + ["later"]


async def test_what_may_be_out_already_is_not_sent_again():
    redis = Redis()
    gatherer = Batcher(redis.prepare_late)
    async with running(gatherer):
        assert await outcomes(gatherer, ["1", "\udcff", "2"]) == [Code.INTERNAL] * 3
        assert await outcomes(gatherer, ["3"]) == ["sent"]
    assert redis.arrived == ["1", "3"]


async def test_an_answer_that_makes_no_sense_fails_the_batch_once():
    redis = Redis(answers=False)
    gatherer = Batcher(redis.prepare)
    async with running(gatherer):
        assert await outcomes(gatherer, ["1", "2"]) == [Code.INTERNAL] * 2
    assert redis.arrived == ["1", "2"]


async def test_what_may_be_sent_twice_is_sent_again_until_the_bad_item_is_found():
    redis = Redis()
    gatherer = Batcher(redis.prepare_late, repeatable=True)
    async with running(gatherer):
        assert await outcomes(gatherer, ["1", "\udcff", "2"]) == ["sent", Code.INTERNAL, "sent"]
    assert redis.arrived[-2:] == ["1", "2"]


async def test_fewer_outcomes_than_items_are_no_outcome():
    async def send() -> list[None]:
        return [None]

    gatherer: Batcher[str] = Batcher(lambda items: send)
    async with running(gatherer):
        assert await outcomes(gatherer, ["1", "2"]) == [Code.INTERNAL] * 2


async def test_a_redis_that_is_away_fails_the_batch_at_once_and_is_no_fault_of_ours():
    tries: list[list[str]] = []
    before = value(FAULTS, part="gatherer")

    def prepare(items: list[str]) -> Call:
        async def send() -> None:
            tries.append(items)
            raise Unavailable("Redis is away")

        return send

    gatherer = Batcher(prepare, repeatable=True)
    async with running(gatherer):
        assert await outcomes(gatherer, ["1", "2"]) == [Code.UNAVAILABLE] * 2
    assert tries == [["1", "2"]]
    assert value(FAULTS, part="gatherer") == before

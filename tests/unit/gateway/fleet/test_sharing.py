"""Equal questions that wait share one answer, few run at a time, and no answer is older than its question."""

from __future__ import annotations

import asyncio

import pytest

from gateway.fleet.sharing import AT_ONCE, Sharing
from realtime.errors import Unavailable
from tests.gateway_fixture import eventually


class Work:
    """Work that ends when it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        await self.may_end.wait()
        return number


async def test_all_who_wait_for_a_turn_share_one_answer_that_begins_after_they_asked():
    sharing, work = Sharing(), Work()
    first = asyncio.create_task(sharing.get("a", work))
    await eventually(lambda: work.begun == 1)
    others = [Work() for _ in range(AT_ONCE - 1)]
    busy = [asyncio.create_task(sharing.get(number, one)) for number, one in enumerate(others)]
    await eventually(lambda: all(one.begun for one in others))
    late = [asyncio.create_task(sharing.get("a", work)) for _ in range(50)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert work.begun == 1
    for one in others:
        one.may_end.set()
    await eventually(lambda: work.begun == 2)
    work.may_end.set()
    assert await first == 1
    assert set(await asyncio.gather(*late)) == {2}
    await asyncio.gather(*busy)


async def test_who_waits_for_too_long_is_refused_and_the_next_one_is_served():
    sharing, work = Sharing(turn_seconds=0.02), Work()
    busy = [asyncio.create_task(sharing.get(number, work)) for number in range(AT_ONCE)]
    await eventually(lambda: work.begun == AT_ONCE)
    with pytest.raises(Unavailable):
        await sharing.get("late", work)
    work.may_end.set()
    await asyncio.gather(*busy)
    assert await sharing.get("late", work) == AT_ONCE + 1


async def test_an_error_is_told_to_all_and_keeps_no_turn():
    async def fail() -> None:
        raise Unavailable("away")

    sharing = Sharing()
    for _ in range(2 * AT_ONCE):
        with pytest.raises(Unavailable):
            await sharing.get("a", fail)

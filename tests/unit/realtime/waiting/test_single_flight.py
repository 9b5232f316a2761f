"""An answer that many share: how often it is worked out, and who gets which."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from realtime.waiting.single_flight import SingleFlight


class Source:
    """Answers 1, 2, 3, … as soon as it may."""

    def __init__(self) -> None:
        self.numbers = count(1)
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.error: Exception | None = None

    async def answer(self) -> int:
        number = next(self.numbers)
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return number


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def shared() -> SingleFlight[int]:
    """A single flight of which no answer is recent any more when it is there."""
    return SingleFlight(0)


async def test_all_who_ask_while_it_is_worked_out_share_it(source: Source, shared: SingleFlight[int]) -> None:
    source.may_answer.clear()
    asked = [asyncio.create_task(shared.get(source.answer)) for _ in range(100)]
    await asyncio.sleep(0)
    source.may_answer.set()
    assert await asyncio.gather(*asked) == [1] * 100
    assert await shared.get(source.answer) == 2


async def test_who_asks_soon_after_gets_the_same(source: Source) -> None:
    shared: SingleFlight[int] = SingleFlight(3_600)
    assert [await shared.get(source.answer) for _ in range(100)] == [1] * 100


async def test_who_asks_later_gets_another(source: Source, shared: SingleFlight[int]) -> None:
    assert [await shared.get(source.answer) for _ in range(3)] == [1, 2, 3]


async def test_who_leaves_takes_the_answer_from_nobody(source: Source, shared: SingleFlight[int]) -> None:
    source.may_answer.clear()
    leaves, stays = (asyncio.create_task(shared.get(source.answer)) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    source.may_answer.set()
    assert await stays == 1


async def test_an_error_goes_to_all_who_asked_and_to_nobody_later(
    source: Source, shared: SingleFlight[int]
) -> None:
    source.error = KeyError("broken")
    asked = await asyncio.gather(*(shared.get(source.answer) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in asked] == [KeyError] * 3
    source.error = None
    assert await shared.get(source.answer) == 2


async def test_who_asks_while_one_is_under_way_may_have_the_next_and_all_who_do_share_it(
    source: Source, shared: SingleFlight[int]
) -> None:
    source.may_answer.clear()
    first = asyncio.create_task(shared.get_begun_after_now(source.answer))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert shared.is_under_way
    later = [asyncio.create_task(shared.get_begun_after_now(source.answer)) for _ in range(100)]
    await asyncio.sleep(0)
    source.may_answer.set()
    assert await first == 1
    assert await asyncio.gather(*later) == [2] * 100
    assert await shared.get_begun_after_now(source.answer) == 3


async def test_one_that_fails_does_not_keep_the_next_from_its_answer(
    source: Source, shared: SingleFlight[int]
) -> None:
    source.error = KeyError("broken")
    with pytest.raises(KeyError):
        await shared.get_begun_after_now(source.answer)
    source.error = None
    assert await shared.get_begun_after_now(source.answer) == 2


async def test_what_is_begun_without_waiting_is_shared_and_begun_once(source: Source) -> None:
    shared: SingleFlight[int] = SingleFlight(3_600)
    source.may_answer.clear()
    assert not shared.is_under_way
    assert shared.start(source.answer) is shared.start(source.answer)
    assert (shared.is_under_way, repr(shared)) == (True, "<SingleFlight recent answer, under way>")
    asked = asyncio.create_task(shared.get(source.answer))
    source.may_answer.set()
    await shared.settle()
    assert not shared.is_under_way
    assert await asked == 1


async def test_to_close_ends_what_is_under_way_for_all_who_wait(
    source: Source, shared: SingleFlight[int]
) -> None:
    await shared.close()
    await shared.settle()
    source.may_answer.clear()
    asked = [asyncio.create_task(shared.get(source.answer)) for _ in range(3)]
    await asyncio.sleep(0)
    await shared.close()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in outcomes] == [asyncio.CancelledError] * 3

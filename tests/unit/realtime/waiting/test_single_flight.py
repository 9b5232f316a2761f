"""An answer that many share: how often it is worked out, and who gets which."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from realtime.waiting import single_flight
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
    return SingleFlight()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer is recent any more when it is there."""
    monkeypatch.setattr(single_flight, "RECENT_SECONDS", 0)


@pytest.mark.usefixtures("at_once")
async def test_all_who_ask_while_it_is_worked_out_share_it(source: Source, shared: SingleFlight[int]) -> None:
    source.may_answer.clear()
    asked = [asyncio.create_task(shared.get(source.answer)) for _ in range(100)]
    await asyncio.sleep(0)
    source.may_answer.set()
    assert await asyncio.gather(*asked) == [1] * 100
    assert await shared.get(source.answer) == 2


async def test_who_asks_soon_after_gets_the_same(
    source: Source, shared: SingleFlight[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_flight, "RECENT_SECONDS", 3_600)
    assert [await shared.get(source.answer) for _ in range(100)] == [1] * 100


@pytest.mark.usefixtures("at_once")
async def test_who_asks_later_gets_another(source: Source, shared: SingleFlight[int]) -> None:
    assert [await shared.get(source.answer) for _ in range(3)] == [1, 2, 3]


@pytest.mark.usefixtures("at_once")
async def test_who_leaves_takes_the_answer_from_nobody(source: Source, shared: SingleFlight[int]) -> None:
    source.may_answer.clear()
    leaves, stays = (asyncio.create_task(shared.get(source.answer)) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    source.may_answer.set()
    assert await stays == 1


@pytest.mark.usefixtures("at_once")
async def test_an_error_goes_to_all_who_asked_and_to_nobody_later(
    source: Source, shared: SingleFlight[int]
) -> None:
    source.error = KeyError("broken")
    asked = await asyncio.gather(*(shared.get(source.answer) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in asked] == [KeyError] * 3
    source.error = None
    assert await shared.get(source.answer) == 2

"""A flag that tasks wait for, as they do for an event of asyncio."""

from __future__ import annotations

import asyncio
import sys

from realtime.waiting.flag import Flag
from tests.change_stream import DEADLINE


async def waiting(flag: Flag, count: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(flag.wait(), name="wait") for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_who_waits_goes_on_when_it_is_set_even_if_it_is_cleared_at_once():
    flag = Flag()
    first = await waiting(flag, 3)
    assert not any(task.done() for task in first)
    flag.set()
    flag.clear()
    second = await waiting(flag, 2)
    await asyncio.wait_for(asyncio.gather(*first), DEADLINE)
    assert not any(task.done() for task in second)
    flag.set()
    await asyncio.wait_for(asyncio.gather(*second), DEADLINE)


async def test_nobody_waits_for_a_flag_that_is_set():
    flag = Flag(is_set=True)
    assert flag.is_set()
    flag.wait().close()
    await asyncio.wait_for(flag.wait(), DEADLINE)
    flag.clear()
    assert not flag.is_set()


async def test_one_that_gives_up_takes_nobody_along():
    flag = Flag()
    gone, stays = await waiting(flag, 2)
    gone.cancel()
    await asyncio.sleep(0)
    flag.set()
    await asyncio.wait_for(stays, DEADLINE)


async def test_a_flag_for_which_nobody_waits_is_small():
    flag = Flag()
    for task in await waiting(flag, 1):
        flag.set()
        await task
    assert flag._event is None
    assert sys.getsizeof(flag) < 100

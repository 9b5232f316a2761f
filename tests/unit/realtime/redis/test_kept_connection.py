"""The kept connection serves calls that come one at a time; all others have connections of the pool."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import pytest
from redis import asyncio as redis
from redis.exceptions import ConnectionError as RedisConnectionError

from realtime.redis.kept_connection import KeptConnection


class FakeConnection:
    """Answers with what was sent, as soon as it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.is_marked = False  # for reconnecting, since its server was demoted
        self.sent: list[bytes] = []

    def should_reconnect(self) -> bool:
        return self.is_marked

    async def send_packed_command(self, packed: bytes) -> None:
        self.sent.append(packed)

    async def read_response(self) -> bytes:
        sent = self.sent[-1]
        await self.may_answer.wait()
        return sent


class FakePool:
    """Hands out connections, and knows which ones came back."""

    def __init__(self) -> None:
        self.taken: list[FakeConnection] = []
        self.released: list[FakeConnection] = []
        self.lost: list[FakeConnection] = []  # connections that cannot be opened again

    async def get_connection(self) -> FakeConnection:
        self.taken.append(FakeConnection())
        return self.taken[-1]

    async def ensure_connection(self, connection: FakeConnection) -> None:
        if connection in self.lost:
            raise RedisConnectionError("refused")

    async def release(self, connection: FakeConnection) -> None:
        self.released.append(connection)


@pytest.fixture
def pool() -> FakePool:
    return FakePool()


@pytest.fixture
def kept(pool: FakePool) -> KeptConnection:
    return KeptConnection(cast(redis.ConnectionPool, pool))


def packed(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(one), one.encode()) for one in words)


async def execute_all(kept: KeptConnection, calls: Iterable[str]) -> list[Any]:
    return [await kept.execute(["GET", call]) for call in calls]


async def test_calls_that_come_one_at_a_time_take_one_connection(
    pool: FakePool, kept: KeptConnection
) -> None:
    assert await execute_all(kept, "abc") == [packed("GET", call) for call in "abc"]
    assert (len(pool.taken), pool.released) == (1, [])


async def test_a_call_during_another_one_takes_its_own_connection_and_gives_it_back(
    pool: FakePool, kept: KeptConnection
) -> None:
    await execute_all(kept, "a")
    (first,) = pool.taken
    first.may_answer.clear()
    slow = asyncio.ensure_future(kept.execute(["GET", "slow"]))
    while len(first.sent) < 2:
        await asyncio.sleep(0)
    assert await execute_all(kept, "b") == [packed("GET", "b")]
    second = pool.taken[1]
    first.may_answer.set()
    assert await slow == packed("GET", "slow")
    assert pool.released == [first], "the pool has all but one"
    assert await execute_all(kept, "c") == [packed("GET", "c")]
    assert second.sent[-1] == packed("GET", "c")


async def test_a_connection_to_a_demoted_server_goes_back_to_the_pool_which_closes_it(
    pool: FakePool, kept: KeptConnection
) -> None:
    await execute_all(kept, "a")
    pool.taken[0].is_marked = True
    await execute_all(kept, "b")
    assert pool.released == [pool.taken[0]]
    assert pool.taken[1].sent == [packed("GET", "b")]


async def test_a_server_that_is_demoted_during_a_call_loses_the_connection_after_it(
    pool: FakePool, kept: KeptConnection
) -> None:
    await execute_all(kept, "a")
    (first,) = pool.taken
    first.may_answer.clear()
    call = asyncio.ensure_future(kept.execute(["GET", "b"]))
    while len(first.sent) < 2:
        await asyncio.sleep(0)
    first.is_marked = True
    first.may_answer.set()
    await call
    assert pool.released == [first]


async def test_a_connection_that_cannot_be_opened_again_goes_back_to_the_pool(
    pool: FakePool, kept: KeptConnection
) -> None:
    await execute_all(kept, "a")
    pool.lost = list(pool.taken)
    with pytest.raises(RedisConnectionError):
        await execute_all(kept, "b")
    assert pool.released == pool.taken
    assert await execute_all(kept, "c") == [packed("GET", "c")]
    assert len(pool.taken) == 2


async def test_words_that_cannot_be_sent_take_no_connection(pool: FakePool, kept: KeptConnection) -> None:
    with pytest.raises(UnicodeEncodeError):
        await execute_all(kept, ["\ud800"])
    assert pool.taken == []

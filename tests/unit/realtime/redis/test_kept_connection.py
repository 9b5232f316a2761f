"""The kept connection serves calls that come one at a time; all others have connections of the pool."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import pytest
from redis import asyncio as redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from realtime.redis.kept_connection import KeptConnection
from tests.redis_transports import FakeConnection


class FakePool:
    """Hands out connections, and knows which ones came back."""

    def __init__(self) -> None:
        self.taken: list[FakeConnection] = []
        self.released: list[FakeConnection] = []
        self.refuses = False

    async def get_connection(self) -> FakeConnection:
        if self.refuses:
            raise RedisConnectionError("refused")
        self.taken.append(FakeConnection())
        return self.taken[-1]

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


async def begin(kept: KeptConnection, pool: FakePool, key: str) -> tuple[asyncio.Task[Any], FakeConnection]:
    """Start a call; return it when some connection has sent it, and that connection."""
    call = asyncio.ensure_future(kept.execute(["GET", key]))
    while True:
        for connection in pool.taken:
            if packed("GET", key) in connection.transport.sent:
                return call, connection
        await asyncio.sleep(0)


async def execute_all(kept: KeptConnection, pool: FakePool, keys: Iterable[str]) -> list[Any]:
    """Call one after the other; each answer is the key."""
    answers = []
    for key in keys:
        call, connection = await begin(kept, pool, key)
        connection.transport.receive(f"+{key}\r\n".encode())
        answers.append(await call)
    return answers


async def test_calls_that_come_one_at_a_time_take_one_connection(
    pool: FakePool, kept: KeptConnection
) -> None:
    assert not kept.is_ready
    assert await execute_all(kept, pool, "abc") == [b"a", b"b", b"c"]
    assert (len(pool.taken), pool.released) == (1, [])
    assert kept.is_ready


async def test_a_call_during_another_one_takes_its_own_connection_and_gives_it_back(
    pool: FakePool, kept: KeptConnection
) -> None:
    await execute_all(kept, pool, "a")
    (first,) = pool.taken
    slow, _ = await begin(kept, pool, "slow")
    assert not kept.is_ready
    assert await execute_all(kept, pool, "b") == [b"b"]
    second = pool.taken[1]
    assert pool.released == [second], "the pool has all but one"
    assert second.transport.protocol is second.stream
    assert not second.transport.is_closing()
    first.transport.receive(b"+slow\r\n")
    assert await slow == b"slow"
    assert await execute_all(kept, pool, "c") == [b"c"]
    assert first.transport.sent[-1] == packed("GET", "c")


async def test_of_two_calls_that_find_no_connection_the_first_to_end_leaves_its_own(
    pool: FakePool, kept: KeptConnection
) -> None:
    (slow, first), (quick, second) = await begin(kept, pool, "slow"), await begin(kept, pool, "quick")
    second.transport.receive(b"+quick\r\n")
    await quick
    first.transport.receive(b"+slow\r\n")
    await slow
    assert pool.released == [first]
    await execute_all(kept, pool, "c")
    assert second.transport.sent[-1] == packed("GET", "c")


async def test_a_call_may_begin_before_the_last_one_takes_notice_of_its_answer(
    pool: FakePool, kept: KeptConnection
) -> None:
    await execute_all(kept, pool, "a")
    (connection,) = pool.taken
    first, _ = await begin(kept, pool, "b")
    connection.transport.receive(b"+b\r\n")
    answering = kept.begin(["GET", "c"], 1.0)  # in the same turn of the loop
    assert answering is not None
    assert await first == b"b"
    connection.transport.receive(b"+c\r\n")
    assert await answering == b"c"
    assert (len(pool.taken), pool.released) == (1, [])
    assert kept.is_ready


async def test_a_call_may_begin_without_waiting_for_its_answer(pool: FakePool, kept: KeptConnection) -> None:
    assert kept.begin(["GET", "a"], 1.0) is None, "no connection is open yet"
    await execute_all(kept, pool, "a")
    (connection,) = pool.taken
    answering = kept.begin(["GET", "b"], 1.0)
    assert answering is not None
    assert kept.begin(["GET", "c"], 1.0) is None, "the connection is busy"
    await execute_all(kept, pool, "d")
    assert len(pool.taken) == 2
    connection.transport.receive(b"+b\r\n")
    assert await answering == b"b"
    await execute_all(kept, pool, "e")
    assert (len(pool.taken), connection.transport.sent[-1]) == (2, packed("GET", "e"))


@pytest.mark.parametrize("is_reset", [False, True])
async def test_a_connection_that_is_lost_with_nobody_waiting_is_given_back_by_the_next_call(
    is_reset: bool, pool: FakePool, kept: KeptConnection
) -> None:
    await execute_all(kept, pool, "a")
    (first,) = pool.taken
    if is_reset:
        first.transport.is_reset = True
        assert kept.begin(["GET", "b"], 1.0) is None
    else:
        answering = kept.begin(["GET", "b"], 1.0)
        assert answering is not None
        first.transport.abort()
        with pytest.raises(RedisConnectionError):
            await answering
    assert await execute_all(kept, pool, "c") == [b"c"]
    assert pool.released == [first]


async def test_a_connection_to_a_demoted_server_is_closed_and_goes_back_to_the_pool(
    pool: FakePool, kept: KeptConnection
) -> None:
    await execute_all(kept, pool, "a")
    (first,) = pool.taken
    first.is_marked = True
    assert await execute_all(kept, pool, "b") == [b"b"]
    assert pool.released == [first]
    assert first.transport.is_closing()
    assert pool.taken[1].transport.sent == [packed("GET", "b")]


async def test_a_server_that_is_demoted_during_a_call_loses_the_connection_after_it(
    pool: FakePool, kept: KeptConnection
) -> None:
    call, connection = await begin(kept, pool, "a")
    connection.is_marked = True
    connection.transport.receive(b"+a\r\n")
    assert await call == b"a"
    assert pool.released == [connection]
    assert connection.transport.is_closing()


async def test_an_error_that_the_server_sent_costs_no_connection(
    pool: FakePool, kept: KeptConnection
) -> None:
    call, connection = await begin(kept, pool, "a")
    connection.transport.receive(b"-NOSCRIPT No matching script.\r\n")
    with pytest.raises(NoScriptError):
        await call
    assert await execute_all(kept, pool, "b") == [b"b"]
    assert (pool.taken, pool.released) == ([connection], [])


async def test_a_lost_connection_goes_back_to_the_pool_and_the_next_call_has_another(
    pool: FakePool, kept: KeptConnection
) -> None:
    call, connection = await begin(kept, pool, "a")
    connection.transport.abort()
    with pytest.raises(RedisConnectionError):
        await call
    assert pool.released == [connection]
    pool.refuses = True
    with pytest.raises(RedisConnectionError):
        await kept.execute(["GET", "b"])
    pool.refuses = False
    assert await execute_all(kept, pool, "c") == [b"c"]


async def test_an_answer_that_comes_late_is_read_by_no_other_call(
    pool: FakePool, kept: KeptConnection
) -> None:
    cancelled, first = await begin(kept, pool, "a")
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    assert first.transport.is_closing()
    assert pool.released == [first]
    await execute_all(kept, pool, "b")
    with pytest.raises(TimeoutError):
        await kept.execute(["GET", "c"], 0.01)
    assert pool.taken[1].transport.is_closing()
    assert pool.released == pool.taken


async def test_words_that_cannot_be_sent_take_no_connection(pool: FakePool, kept: KeptConnection) -> None:
    with pytest.raises(UnicodeEncodeError):
        await kept.execute(["\ud800"])
    assert pool.taken == []

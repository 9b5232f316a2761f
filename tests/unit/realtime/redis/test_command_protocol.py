"""One command at a time over a connection of redis-py: each gets its own answer, or ends the connection."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from redis.exceptions import BusyLoadingError, InvalidResponse, MovedError, NoScriptError
from redis.exceptions import ConnectionError as RedisConnectionError

from realtime.redis.command_protocol import CommandProtocol
from tests.redis_transports import FakeConnection

PING = b"*1\r\n$4\r\nPING\r\n"


@pytest.fixture
async def connection() -> FakeConnection:
    return FakeConnection()


@pytest.fixture
async def protocol(connection: FakeConnection) -> CommandProtocol:
    return CommandProtocol(connection)


async def test_an_answer_may_come_in_pieces(connection: FakeConnection, protocol: CommandProtocol) -> None:
    answering = protocol.ask(PING)
    for piece in (b"*2\r\n:1\r", b"\n$3\r\nab", b"c\r\n"):
        assert not answering.done()
        assert not protocol.is_ready
        connection.transport.receive(piece)
    assert await answering == [1, b"abc"]
    assert protocol.is_ready
    assert connection.transport.sent == [PING]


@pytest.mark.parametrize(
    ("answer", "value"), [(b"$-1\r\n", None), (b"_\r\n", None), (b":0\r\n", 0), (b"#f\r\n", False)]
)
async def test_an_answer_may_be_nothing(
    answer: bytes, value: object, connection: FakeConnection, protocol: CommandProtocol
) -> None:
    answering = protocol.ask(PING)
    connection.transport.receive(answer)
    assert await answering == value
    assert protocol.is_ready


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(b"-NOSCRIPT No matching script.\r\n", NoScriptError), (b"-MOVED 5 127.0.0.1:7\r\n", MovedError)],
)
async def test_an_error_of_a_command_ends_nothing(
    answer: bytes, kind: type[Exception], connection: FakeConnection, protocol: CommandProtocol
) -> None:
    answering = protocol.ask(PING)
    connection.transport.receive(answer)
    with pytest.raises(kind):
        await answering
    assert protocol.is_ready


async def test_a_server_that_still_loads_its_data_ends_the_connection(
    connection: FakeConnection, protocol: CommandProtocol
) -> None:
    answering = protocol.ask(PING)
    connection.transport.receive(b"-LOADING Redis is loading the dataset in memory\r\n")
    with pytest.raises(BusyLoadingError):
        await answering
    assert not protocol.is_ready


@pytest.mark.parametrize("answer", [b"what\r\n", b"+a\r\n+nobody asked\r\n"])
async def test_what_is_no_answer_to_this_command_ends_the_connection(
    answer: bytes, connection: FakeConnection, protocol: CommandProtocol
) -> None:
    answering = protocol.ask(PING)
    connection.transport.receive(answer)
    with suppress(InvalidResponse):
        assert await answering == b"a"
    assert not protocol.is_ready


async def test_a_push_message_is_no_answer(connection: FakeConnection, protocol: CommandProtocol) -> None:
    answering = protocol.ask(PING)
    connection.transport.receive(b">2\r\n+invalidate\r\n+a\r\n")
    assert not answering.done()
    connection.transport.receive(b"+PONG\r\n")
    assert await answering == b"PONG"


async def test_the_end_of_the_connection_is_an_error_of_the_call_and_known_to_redis_py(
    connection: FakeConnection, protocol: CommandProtocol
) -> None:
    answering = protocol.ask(PING)
    cause = ConnectionResetError(104, "Connection reset by peer")
    connection.transport.abort(cause)
    with pytest.raises(RedisConnectionError) as caught:
        await answering
    assert caught.value.__cause__ is cause
    assert not protocol.is_ready
    assert connection.stream.has_ended


async def test_a_connection_that_was_reset_is_an_error_of_redis_py(
    connection: FakeConnection, protocol: CommandProtocol
) -> None:
    connection.transport.is_reset = True
    with pytest.raises(RedisConnectionError):
        protocol.ask(PING)


async def test_no_answer_in_time_ends_the_connection(
    connection: FakeConnection, protocol: CommandProtocol
) -> None:
    answering = protocol.ask(PING, 0.01)
    with pytest.raises(TimeoutError):
        await answering
    assert not protocol.is_ready


async def test_the_time_of_a_command_counts_from_its_own_beginning(
    connection: FakeConnection, protocol: CommandProtocol
) -> None:
    first = protocol.ask(PING, 0.05)
    connection.transport.receive(b"+1\r\n")
    await first
    loop = asyncio.get_running_loop()
    while loop.time() < protocol._deadline - 0.02:  # the timer of the first command still runs
        await asyncio.sleep(0.005)
    began = loop.time()
    second = protocol.ask(PING, 0.1)
    with pytest.raises(TimeoutError):
        await second
    assert loop.time() - began >= 0.1


async def test_a_command_without_a_limit_outlives_the_limit_of_the_one_before(
    connection: FakeConnection, protocol: CommandProtocol
) -> None:
    first = protocol.ask(PING, 0.01)
    connection.transport.receive(b"+1\r\n")
    await first
    second = protocol.ask(PING)
    while protocol._timer is not None:
        await asyncio.sleep(0.005)
    connection.transport.receive(b"+2\r\n")
    assert await second == b"2"
    assert protocol.is_ready


async def test_a_call_that_is_cancelled_leaves_no_answer_to_the_next_one(
    connection: FakeConnection, protocol: CommandProtocol
) -> None:
    answering = protocol.ask(PING)
    answering.cancel()
    assert not protocol.is_ready


async def test_a_connection_that_is_given_back_is_read_by_redis_py(
    connection: FakeConnection, protocol: CommandProtocol
) -> None:
    answering = protocol.ask(PING, 1.0)
    connection.transport.receive(b"+1\r\n")
    await answering
    protocol.end()
    assert connection.transport.protocol is connection.stream
    assert protocol._timer is None


@pytest.mark.parametrize("cause", ["marked", "closing"])
async def test_a_connection_that_ends_soon_is_not_ready(
    cause: str, connection: FakeConnection, protocol: CommandProtocol
) -> None:
    assert protocol.is_ready
    if cause == "marked":
        connection.is_marked = True
    else:
        connection.transport.abort()
        await asyncio.sleep(0)
    assert not protocol.is_ready

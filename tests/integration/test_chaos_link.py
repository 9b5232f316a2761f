"""The link that the chaos suite cuts and silences, between a client and a server that echoes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from tests.chaos.link import HOST, Link, Silence
from tests.gateway_fixture import eventually

DEADLINE = 45.0

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Ends]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    server = await asyncio.start_server(echo, HOST, 0)
    link = Link("client to echo", server.sockets[0].getsockname()[1])
    async with server, link.listening():
        yield link


@pytest.fixture
async def connected(link: Link) -> AsyncIterator[Connect]:
    """Opens connections through the link, and closes them in the end."""
    opened: list[Ends] = []

    async def connect() -> Ends:
        opened.append(await asyncio.open_connection(HOST, link.port))
        return opened[-1]

    yield connect
    for _, writer in opened:
        writer.close()


async def say(ends: Ends, words: bytes) -> bytes:
    """Say it and return what comes back of it."""
    ends[1].write(words)
    return await hear(ends, len(words))


async def hear(ends: Ends, count: int) -> bytes:
    async with asyncio.timeout(DEADLINE):
        return await ends[0].readexactly(count)


async def is_reset(ends: Ends) -> bool:
    try:
        async with asyncio.timeout(DEADLINE):
            await ends[0].read(1)
    except ConnectionResetError:
        return True
    return False


async def test_what_is_said_passes_both_ways_whole(connected):
    ends = await connected()
    words = bytes(range(256)) * 4096
    assert await say(ends, words) == words


async def test_a_goodbye_passes(link, connected):
    """Wait until the link has no connection any more."""
    ends = await connected()
    await say(ends, b"hello")
    ends[1].close()
    await ends[1].wait_closed()
    await eventually(lambda: not link.connections)


async def test_a_cut_resets_who_is_connected_and_nobody_after(link, connected):
    ends = await connected()
    await say(ends, b"hello")
    link.cut()
    assert await is_reset(ends)
    assert await say(await connected(), b"again") == b"again"


async def test_what_is_held_arrives_when_the_network_is_back(link, connected):
    ends = await connected()
    await say(ends, b"before")
    link.black_hole(Silence.HELD)
    ends[1].write(b"meanwhile")
    late = await connected()
    late[1].write(b"late")
    assert await is_silent(ends)
    assert await is_silent(late)
    link.heal()
    assert await hear(ends, 9) == b"meanwhile"
    assert await hear(late, 4) == b"late"


async def is_silent(ends: Ends) -> bool:
    try:
        async with asyncio.timeout(0.2):
            await ends[0].read(1)
    except TimeoutError:
        return True
    return False


async def test_who_was_swallowed_is_reset_by_the_next_word_after_it_and_the_others_live_on(link, connected):
    spoke, kept_still = await connected(), await connected()
    await say(spoke, b"before")
    await say(kept_still, b"before")
    link.black_hole(Silence.SWALLOWED)
    spoke[1].write(b"meanwhile")
    late = await connected()
    late[1].write(b"late")
    assert await is_silent(spoke)
    assert await is_silent(late)
    link.heal()
    assert await is_silent(spoke)
    for ends in (spoke, late):
        ends[1].write(b"after")
        assert await is_reset(ends)
    assert await say(kept_still, b"after") == b"after"


async def test_a_goodbye_is_swallowed_too(link, connected):
    ends = await connected()
    await say(ends, b"before")
    link.black_hole(Silence.SWALLOWED)
    ends[1].close()
    await ends[1].wait_closed()
    assert await is_silent(await connected())
    assert len(link.connections) == 2
    link.heal()
    assert await say(await connected(), b"after") == b"after"


async def test_a_forgotten_connection_is_silent_for_ever_and_new_ones_are_served(link, connected):
    ends = await connected()
    await say(ends, b"before")
    link.forget()
    for words in (b"meanwhile", b"again"):
        ends[1].write(words)
        assert await is_silent(ends)
    assert await say(await connected(), b"after") == b"after"


async def test_a_new_target_is_for_new_connections(link, connected):
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"other")
        writer.close()

    old = await connected()
    await say(old, b"hello")
    other = await asyncio.start_server(refuse, HOST, 0)
    async with other:
        link.target = other.sockets[0].getsockname()[1]
        assert await hear(await connected(), 5) == b"other"
        assert await say(old, b"still") == b"still"


async def test_where_nobody_listens_who_connects_is_reset(link, connected):
    unused = await asyncio.start_server(echo, HOST, 0)
    link.target = unused.sockets[0].getsockname()[1]
    unused.close()
    await unused.wait_closed()
    assert await is_reset(await connected())

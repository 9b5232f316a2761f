"""The bundle of links of the chaos suite: what servers say of each other leads through it, too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from tests.chaos.bundle import Bundle
from tests.chaos.link import HOST, Link, Silence

DEADLINE = 45.0

TOLD = (
    "redis+cluster://:secret@127.0.0.1:{0},127.0.0.1:{1}",  # what a process is given
    "-MOVED 5251 127.0.0.1:{0}\r\n",
    "-ASK 5251 127.0.0.1:{1}\r\n",
    "*2\r\n$9\r\n127.0.0.1\r\n:{0}\r\n$9\r\n127.0.0.1\r\n:{1}\r\n",  # in CLUSTER SLOTS
    "$2\r\nip\r\n$9\r\n127.0.0.1\r\n$4\r\nport\r\n$5\r\n{0}\r\n",  # in SENTINEL MASTER
)
OTHER = (
    ":{0}\r\n",  # a number that happens to be a port of ours
    "$9\r\n127.0.0.1\r\n:12345\r\n",
    "127.0.0.2:{0}",
)


async def parrot(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


@pytest.fixture
async def ports() -> AsyncIterator[list[int]]:
    """Of two servers that say what they are told."""
    servers = [await asyncio.start_server(parrot, HOST, 0) for _ in range(2)]
    async with servers[0], servers[1]:
        yield [server.sockets[0].getsockname()[1] for server in servers]


@pytest.fixture
async def bundle(ports: list[int]) -> AsyncIterator[Bundle]:
    bundle = Bundle("gateway to redis", lambda: [f"{HOST}:{port}" for port in ports])
    async with bundle.listening():
        yield bundle


def of_links(bundle: Bundle, ports: list[int]) -> list[int]:
    """The ports of the links, in the order of those of the servers."""
    found = bundle.through("".join(f"{HOST}:{port}" for port in ports))
    return [int(port) for port in found.split(f"{HOST}:")[1:]]


async def say(port: int, words: str) -> str:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        async with asyncio.timeout(DEADLINE):
            writer.write(words.encode())
            return (await reader.readexactly(len(words))).decode()
    finally:
        writer.close()


@pytest.mark.parametrize("told", TOLD)
async def test_an_address_of_a_server_becomes_that_of_the_link_to_it(bundle, ports, told):
    links = of_links(bundle, ports)
    assert not set(links) & set(ports)
    assert await say(links[0], told.format(*ports)) == told.format(*links)


@pytest.mark.parametrize("other", OTHER)
async def test_what_is_no_address_of_a_server_is_passed_on_as_it_is(bundle, ports, other):
    words = other.format(*ports)
    assert await say(of_links(bundle, ports)[1], words) == words


async def test_a_bundle_is_cut_and_silenced_as_a_whole(bundle, ports):
    links = of_links(bundle, ports)
    opened = [await asyncio.open_connection(HOST, port) for port in links]
    bundle.black_hole(Silence.HELD)
    for _, writer in opened:
        writer.write(b"x")
    bundle.cut()
    for reader, _ in opened:
        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(DEADLINE):
                await reader.read()
    bundle.heal()
    assert [await say(port, "hello") for port in links] == ["hello", "hello"]


def test_a_fault_strikes_all_links_of_a_bundle_or_one(ports, bundle):
    struck = {bundle.part(Random(seed)) for seed in range(20)}
    assert bundle in struck
    assert sum(isinstance(one, Link) for one in struck) == len(ports)

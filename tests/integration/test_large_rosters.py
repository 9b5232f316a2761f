"""Channels in which very many are present: who does not read holds little, and gets the truth at last."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from gateway.http.presence_lists import PresenceLists
from gateway.presence.change import Change
from gateway.presence.node_store import NodeStore
from gateway.presence.presence_store import PresenceStore
from realtime.channels import presence_topic
from realtime.redis.client import connect
from realtime.settings.config import Limits
from realtime.waiting.batches import batches
from tests.change_stream import DEADLINE
from tests.clean_log import logged
from tests.expressions import value
from tests.gateway_fixture import Gateway, eventually, running_gateway, settings_for, stays, token_for
from tests.raw_socket import TEXT, RawSocket, frame, raw_socket

PRESENT, STATE = 8_000, "s" * 1_000  # 9 MB
TOPIC = presence_topic("room:large")
MIB = 2**20


def entry(name: str, version: int) -> bytes:
    return json.dumps(
        {
            "connection_id": name,
            "user_id": None,
            "state": {"pad": STATE, "version": version},
            "joined_at": "2026-01-01T00:00:00.000000Z",
            "updated_at": "2026-01-01T00:00:00.000000Z",
        }
    ).encode()


class Crowd:
    """People of a gateway's node, put there past it."""

    def __init__(self, gateway: Gateway, presence: PresenceStore, incarnation: str) -> None:
        self.gateway = gateway
        self._presence = presence
        self._incarnation = incarnation
        self.there: dict[str, int] = {}  # version by name

    async def change(self, changes: dict[str, int | None]) -> None:
        """Let these be present with a version, or no more."""
        names = list(changes)
        for some in batches(names, 200):
            await self._presence.change(
                {("demo", TOPIC): [self._change(name, changes[name]) for name in some]}
            )
        for name, version in changes.items():
            if version is None:
                del self.there[name]
            else:
                self.there[name] = version

    def _change(self, name: str, version: int | None) -> Change:
        return Change(f"{self._incarnation}/{name}", None if version is None else entry(name, version))


@pytest.fixture
async def crowd(database_url: str, redis_url: str) -> AsyncIterator[Crowd]:
    limits = Limits(max_queue_bytes=65_536, slow_consumer_seconds=3_600)
    settings = settings_for(database_url, redis_url, limits=limits, queue_budget_bytes=32 * MIB)
    async with running_gateway(settings) as gateway, connect(redis_url) as store:
        (incarnation,) = await eventually(NodeStore(store).all)
        crowd = Crowd(gateway, PresenceStore(store), incarnation)
        await crowd.change({f"c{number:05}": 0 for number in range(PRESENT)})
        yield crowd


async def ask(raw: RawSocket) -> None:
    raw.send(frame(TEXT, json.dumps({"type": "subscribe", "channel": TOPIC}).encode()))
    assert json.loads(await raw.text())["type"] == "subscribed"


class Copy:
    """What a client knows of who is there."""

    def __init__(self, raw: RawSocket) -> None:
        self._raw = raw
        self._coming: dict[str, int] = {}
        self._is_whole = True  # no part of a list is missing
        self.there: dict[str, int] = {}

    async def follow(self, truth: dict[str, int]) -> None:
        while not self._is_whole or self.there != truth:
            await self.hear()

    async def hear(self) -> None:
        message = json.loads(await self._raw.text())
        assert (message["type"], message["channel"]) == ("presence", TOPIC)
        told = {one["connection_id"]: one["state"]["version"] for one in message["presences"]}
        if message["event"] == "sync":
            self._coming |= told
            self._is_whole = not message["more"]
            if self._is_whole:
                self.there, self._coming = self._coming, {}
            return
        assert self._is_whole, "news come between lists, not within one"
        for name, version in told.items():
            match message["event"]:
                case "join":
                    assert name not in self.there
                    self.there[name] = version
                case "update":
                    assert name in self.there
                    self.there[name] = version
                case "leave":
                    del self.there[name]


def waiting() -> float:
    return value("realtime_gateway_queue_bytes") / MIB


async def test_many_who_ask_and_do_not_read_hold_little(crowd):
    async with AsyncExitStack() as stack:
        for number in range(40):
            await crowd.change({f"c{number:05}": 1})  # so that none of the lists is another's
            await ask(await stack.enter_async_context(raw_socket(crowd.gateway, receive_bytes=4_096)))
        await eventually(lambda: waiting() > PRESENT * len(STATE) / MIB)  # of the node itself
        await stays(lambda: waiting() < 25, 2.0)  # forty lists are 360 MB


async def test_who_reads_a_long_list_slowly_while_it_changes_knows_who_is_there_in_the_end(crowd):
    """Listen until the copy of the client is the truth, and again after another change."""
    async with raw_socket(crowd.gateway, receive_bytes=4_096) as raw:
        await ask(raw)
        copy = Copy(raw)
        for round_ in range(1, 6):
            for _ in range(20):
                await copy.hear()
            await crowd.change({f"c{number:05}": round_ for number in range(0, PRESENT, 900)})
            await crowd.change({f"c{PRESENT - round_:05}": None, f"d{round_:05}": 0})
        await copy.follow(crowd.there)
        await crowd.change({"live": 1})
        await copy.follow(crowd.there)


async def test_who_reads_a_list_while_most_of_it_changes_gets_another(crowd):
    """Listen until the copy of the client is the truth."""
    async with raw_socket(crowd.gateway, receive_bytes=4_096) as raw:
        await ask(raw)
        copy = Copy(raw)
        await copy.hear()
        await crowd.change(dict.fromkeys(crowd.there, 1))
        await copy.follow(crowd.there)


@asynccontextmanager
async def asking(gateway: Gateway) -> AsyncIterator[asyncio.StreamReader]:
    """A connection that asks by REST who is present."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", gateway.port))
    reader, writer = await asyncio.open_connection(sock=plain, limit=4_096)
    try:
        writer.write(
            "GET /projects/demo/realtime/presence?channel=room:large HTTP/1.1\r\n"
            f"Host: x\r\nAuthorization: Bearer {token_for()}\r\n\r\n".encode()
        )
        yield reader
    finally:
        writer.transport.abort()


async def begins(reader: asyncio.StreamReader) -> None:
    """Wait for the first line of an answer."""
    assert b"200" in await asyncio.wait_for(reader.readline(), 45)


async def read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    """What comes until the answer is whole or the connection is cut off."""
    got = b""
    with suppress(ConnectionError):
        while not got.endswith(b"]}") and (data := await asyncio.wait_for(reader.read(2**20), DEADLINE)):
            got += data
    return got


async def test_many_who_ask_at_once_by_rest_and_do_not_read_hold_few_answers(crowd, caplog, monkeypatch):
    """Each of them has 9 MB, and the budget has room for three."""
    asked, may_answer = 0, asyncio.Event()
    get, members = PresenceLists.get, PresenceStore.members

    async def counted(*parts):
        nonlocal asked
        asked += 1
        return await get(*parts)

    async def held(*parts):
        await may_answer.wait()
        return await members(*parts)

    monkeypatch.setattr(PresenceLists, "get", counted)
    monkeypatch.setattr(PresenceStore, "members", held)
    async with AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(asking(crowd.gateway)) for _ in range(20)]
        await eventually(lambda: asked == len(readers))
        may_answer.set()
        for reader in readers:
            await begins(reader)
        await eventually(lambda: waiting() > 9)
        assert (await read_to_the_end(readers[-1])).endswith(b"]}")
        assert not logged(caplog, "queue_budget_exceeded")
    await eventually(lambda: waiting() < 1)


async def test_an_answer_that_is_not_read_counts_and_is_cut_off_when_there_are_too_many(crowd, caplog):
    async with AsyncExitStack() as stack:
        readers = []
        for _ in range(10):
            readers.append(await stack.enter_async_context(asking(crowd.gateway)))
            await begins(readers[-1])
            await eventually(lambda: waiting() > 3)  # of 9 MB, of which the kernel takes some
        await eventually(lambda: logged(caplog, "queue_budget_exceeded"))
        whole = [(await read_to_the_end(reader)).endswith(b"]}") for reader in readers]
        assert set(whole) == {True, False}
    await eventually(lambda: waiting() < 1)

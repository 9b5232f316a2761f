"""People on two gateway processes, and what becomes of them when a node or Redis is lost.

The crowd's clients live in this process; the nodes are killed, frozen and stopped for real.
"""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from realtime import names
from realtime.redis.client import Store, connect
from tests.acceptance.conftest import Stage
from tests.acceptance.crowds import ROOM, WATCHED, ends_of, frozen, ids, node, people, watchers_of
from tests.fleet_fixture import crowd, present
from tests.gateway_fixture import Client, Gateway, eventually, token_for
from tests.ports import free_port
from tests.servers import throw_away_valkey

TTL_SECONDS = 3.0  # so long that nobody is taken for dead who waits for a processor


async def test_a_killed_nodes_people_leave_once_within_the_ttl(stage: Stage, capsys):
    ttl, count, watching = 10.0, 200, 4
    stage.write(
        f"presence_ttl_seconds = {ttl}",
        project=("[projects.demo.limits]", f"max_connections = {count + watching}"),
    )
    async with (
        node(stage) as doomed,
        node(stage) as survivor,
        node(stage) as another,
        AsyncExitStack() as stack,
    ):
        watchers = [
            watcher
            for gateway in (survivor, another)
            for watcher in await watchers_of(stack, gateway, watching // 2)
        ]
        async with people(doomed, count, ROOM) as clients:
            lost = ids(clients)
            for watcher in watchers:
                await watcher.becomes(lambda watcher=watcher: watcher.ids == lost)
            async with survivor.socket(token=token_for()) as one_too_many:
                assert await one_too_many.is_refused() == ("too_many_connections", 4429)
            doomed.send(signal.SIGKILL)
            killed_at = time.monotonic()
            async with asyncio.timeout(ttl):
                for watcher in watchers:
                    await watcher.becomes(lambda watcher=watcher: not watcher.ids)
            with capsys.disabled():
                took = time.monotonic() - killed_at
                print(f"\n{count} leaves {took:.2f} s after a kill, TTL {ttl:g} s")  # noqa: T201
        assert await present(another, ROOM) == []
        ends = await ends_of(survivor, lost)
        assert len(ends) == count
        assert {(end["code"], end["reason"]) for end in ends} == {(1006, "node_lost")}
        async with people(survivor, count, ROOM) as newcomers:
            for watcher in watchers:
                await watcher.becomes(lambda watcher=watcher: watcher.ids == ids(newcomers))
                assert watcher.times("leave") == dict.fromkeys(lost, 1)
                assert set(watcher.times("join").values()) == {1}


async def test_a_frozen_node_comes_back_with_its_people(stage: Stage):
    ttl, count = TTL_SECONDS, 20
    stage.write(f"presence_ttl_seconds = {ttl}")
    async with node(stage) as sleeper, node(stage) as survivor, AsyncExitStack() as stack:
        (watcher,) = await watchers_of(stack, survivor, 1)
        async with people(sleeper, count, ROOM) as clients, people(sleeper, 1) as (inside,):
            own = await crowd(inside, WATCHED)
            asleep = ids(clients)
            await watcher.becomes(lambda: watcher.ids == asleep)
            before = {entry["connection_id"]: entry for entry in await present(survivor, ROOM)}
            until = time.monotonic() + 2 * ttl
            with frozen(sleeper):
                await watcher.becomes(lambda: not watcher.ids)
                assert await present(survivor, ROOM) == []
                await eventually(lambda: time.monotonic() > until)
            await watcher.becomes(lambda: watcher.ids == asleep)
            assert watcher.entries == before, "joined_at is kept"
            assert watcher.times("join") == dict.fromkeys(asleep, 2)
            assert watcher.times("leave") == dict.fromkeys(asleep, 1)
            for gateway in (sleeper, survivor):
                entries = await present(gateway, ROOM)
                assert len(entries) == count
                assert {entry["connection_id"]: entry for entry in entries} == before
            await own.becomes(lambda: own.entries == before)
            await own.is_up_to_date()
            assert own.entries == before
        await watcher.becomes(lambda: not watcher.ids)
        assert watcher.times("leave") == dict.fromkeys(asleep, 2)
        await ends_of(survivor, asleep)
        async with connect(stage.redis_url) as store:
            await eventually(lambda: _are_members(store, WATCHED, 0))
            await eventually(lambda: _is_open(store, 1))  # the one who watches
            assert await store.call("SCARD", names.nodes()) == 2


async def test_who_came_and_went_while_a_node_was_frozen_is_counted_right(stage: Stage):
    """Their bytes wait in the node's sockets, and are read before it knows how long it was away."""
    stage.write(f"presence_ttl_seconds = {TTL_SECONDS}")
    async with node(stage) as sleeper, node(stage) as survivor, AsyncExitStack() as stack:
        (watcher,) = await watchers_of(stack, survivor, 1)
        async with (
            people(sleeper, 20, ROOM) as clients,
            people(sleeper, 10, ROOM) as leavers,
            AsyncExitStack() as newcomers,
        ):
            staying = ids(clients)
            await watcher.becomes(lambda: watcher.ids == staying | ids(leavers))
            with frozen(sleeper):
                await watcher.becomes(lambda: not watcher.ids)
                coming = asyncio.create_task(come_to_stay(newcomers, sleeper, 10))
                for client in leavers:
                    await client.say(type="presence", channel=ROOM, state={"n": 2})
                    await client.say(type="presence", state={"n": 3})
                    client.web_socket._writer.transport.close()
                await ends_of(survivor, staying | ids(leavers))
            expected = staying | ids(await coming)
            await eventually(lambda: _is_present(survivor, expected))
            await watcher.becomes(lambda: watcher.ids == expected)
            async with connect(stage.redis_url) as store:
                await eventually(lambda: _is_open(store, len(expected) + 1))
                counts = await store.call("HGETALL", names.connection_counts("demo"))
                assert counts[b"user:crowd"] == b"%d" % len(expected)
        await watcher.becomes(lambda: not watcher.ids)
        async with connect(stage.redis_url) as store:
            await eventually(lambda: _is_open(store, 1))
            assert await store.call("HGETALL", names.connection_counts("demo")) == {
                b"user:bob": b"1",
                b"address:127.0.0.1": b"1",
            }
            await eventually(lambda: _are_members(store, WATCHED, 0))
            await eventually(lambda: _are_members(store, "presence", 0))


async def come_to_stay(stack: AsyncExitStack, gateway: Gateway, count: int) -> list[Client]:
    return await stack.enter_async_context(people(gateway, count, ROOM))


async def _is_present(gateway: Gateway, expected: set[str]) -> bool:
    return {entry["connection_id"] for entry in await present(gateway, ROOM)} == expected


async def _are_members(store: Store, topic: str, count: int) -> bool:
    return await store.call("HLEN", names.topic_members("demo", topic)) == count


async def _is_open(store: Store, count: int) -> bool:
    return await store.call("HLEN", names.open_connections("demo")) == count


async def test_the_people_of_a_node_that_stops_leave_at_once(stage: Stage):
    async with node(stage) as leaving, node(stage) as survivor, AsyncExitStack() as stack:
        (watcher,) = await watchers_of(stack, survivor, 1)
        async with people(leaving, 20, ROOM) as clients:
            gone = ids(clients)
            await watcher.becomes(lambda: watcher.ids == gone)
            leaving.send(signal.SIGTERM)
            # At once: whoever does not answer the close is cut off, and sees that instead of the code.
            codes = await asyncio.gather(*(client.is_sent_away() for client in clients))
            assert codes == [1001] * len(clients)
            await watcher.becomes(lambda: not watcher.ids)
        assert watcher.times("leave") == dict.fromkeys(gone, 1)
        ends = await ends_of(survivor, gone)
        assert [(end["code"], end["reason"]) for end in ends] == [(1001, None)] * len(gone)
        async with connect(stage.redis_url) as store:
            await eventually(lambda: _one_life(store))


async def _one_life(store: Store) -> bool:
    return await store.call("SCARD", names.nodes()) == 1


@pytest.fixture
async def no_redis(database_url: str, tmp_path: Path) -> Stage:
    """A stage whose Redis the test starts and stops."""
    return Stage(tmp_path, database_url, "")


@pytest.mark.standalone
async def test_presence_outlives_a_redis_that_comes_back_empty(no_redis: Stage, tmp_path: Path):
    directory, port = tmp_path / "valkey", free_port()
    async with AsyncExitStack() as stack:
        async with throw_away_valkey(directory, port=port) as valkey:
            stage = Stage(tmp_path, no_redis.database_url, valkey.url)
            stage.write(f"presence_ttl_seconds = {TTL_SECONDS}")
            here, there = [await stack.enter_async_context(node(stage)) for _ in range(2)]
            watchers = [(await watchers_of(stack, gateway, 1))[0] for gateway in (here, there)]
            alice, bob = [
                (await stack.enter_async_context(people(gateway, 1, ROOM)))[0] for gateway in (here, there)
            ]
            (gone,) = await stack.enter_async_context(people(here, 1, ROOM))
            for watcher in watchers:
                await watcher.becomes(lambda watcher=watcher: watcher.ids == ids([alice, bob, gone]))
            before = {entry["connection_id"]: entry for entry in await present(here, ROOM)}
        refused = await alice.ask(type="presence", channel=ROOM, state={"n": 2}, ref=1)
        assert (refused["type"], refused["code"]) == ("error", "unavailable")
        await gone.web_socket.close()
        async with throw_away_valkey(directory, port=port):
            (bobs_id,) = ids([bob])
            for watcher in watchers:
                await watcher.becomes(lambda watcher=watcher: watcher.ids == ids([alice, bob]))
                assert watcher.entries[bobs_id] == before[bobs_id], "joined_at is kept"
            for gateway in (here, there):
                await eventually(lambda gateway=gateway: _is_present(gateway, ids([alice, bob])))
            await bob.ask(type="presence", channel=ROOM, state=None, ref=1)
            for watcher in watchers:
                await watcher.becomes(lambda watcher=watcher: watcher.ids == ids([alice]))


class Entry(msgspec.Struct):
    connection_id: str
    state: msgspec.Raw
    joined_at: str


class Message(msgspec.Struct):
    type: str
    event: str = ""
    presences: list[Entry] = []


async def test_a_thousand_who_come_at_once_see_each_other(stage: Stage, capsys):
    count = 1_000
    decode = msgspec.json.Decoder(Message).decode

    async def join(client: Client, everybody: set[str]) -> tuple[set[tuple[str, str]], int]:
        """Subscribe and join; return whom the client knows in the end, and how many messages that took."""
        await client.say(type="subscribe", channel=WATCHED)
        await client.say(type="presence", channel=ROOM, state={"name": "somebody", "online": True})
        known: dict[str, str] = {}
        messages = 0
        while known.keys() != everybody:
            message = decode(await client.web_socket.receive_str(timeout=60))
            if message.type == "presence":
                assert message.event in ("sync", "join"), message
                messages += 1
                known |= {entry.connection_id: entry.joined_at for entry in message.presences}
        return set(known.items()), messages

    async with (
        node(stage) as here,
        node(stage) as there,
        people(here, count // 2) as some,
        people(there, count // 2) as others,
    ):
        clients = [*some, *others]
        everybody = ids(clients)
        began = time.monotonic()
        known = await asyncio.gather(*(join(client, everybody) for client in clients))
        took = time.monotonic() - began
        assert len(await present(here, ROOM)) == count
        assert all(entries == known[0][0] for entries, _ in known)
        numbers = sorted(messages for _, messages in known)
        with capsys.disabled():
            print(  # noqa: T201
                f"\n{count} joins on two nodes in {took:.1f} s: a client received {numbers[0]} to "
                f"{numbers[-1]} presence messages, {numbers[count // 2]} in the middle"
            )

"""A real Valkey Cluster: commands find their server, whatever becomes of the servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio
from redis.crc import key_slot

from gateway.broker import Broker, Post
from realtime import names
from realtime.errors import Unavailable
from realtime.redis.client import Command, Store, connect
from realtime.redis.failures import checked
from realtime.redis.history import History
from realtime.settings.config import Settings
from tests.clean_log import logged
from tests.cluster_fixture import (
    another_primary,
)
from tests.gateway_fixture import eventually
from tests.redis_servers.cluster import ValkeyCluster
from tests.topics import broadcast

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def store(cluster: ValkeyCluster) -> AsyncIterator[Store]:
    async with connect(cluster.url) as store:
        yield store


async def test_answers_come_in_the_order_of_the_commands_wherever_these_went(store):
    things = [f"name{number}" for number in range(50)]
    await store.call_many([Command(name, ("SET", name, name)) for name in things])
    assert await store.call_many([Command(name, ("GET", name)) for name in things]) == [
        name.encode() for name in things
    ]
    assert len({store.servers.of(name) for name in things}) == 3


async def test_a_script_that_one_server_has_forgotten_is_told_to_it_again(store):
    broker = Broker(store, Settings())
    topics = [f"room:{number}" for number in range(20)]
    before = [await broker.position("demo", topic) for topic in topics]
    await store.servers.all[1].client.script_flush()
    assert [await broker.position("demo", topic) for topic in topics] == before


async def test_what_is_said_while_slots_move_is_kept_once_and_in_order(cluster, store):
    """The keys of a slot go one by one: commands are sent on, asked at the other side, or tried again."""
    broker, topics = Broker(store, Settings()), [f"table:public.t{number}" for number in range(8)]
    said = 0
    stop = asyncio.Event()

    async def speak() -> None:
        nonlocal said
        while not stop.is_set():
            said += 1
            posts = [Post("demo", topic, [str(said).encode()], History(100_000, 3_600)) for topic in topics]
            checked(await broadcast(broker, posts))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(speak())
        await eventually(lambda: said > 20)
        for topic in topics[:4]:
            slot = key_slot(names.topic_channel("demo", topic).encode())
            owner = await cluster.primary_of(names.topic_channel("demo", topic))
            await cluster.move_slot(slot, await another_primary(cluster, owner))
        stop.set()
    for topic in topics:
        entries = await store.call("XRANGE", names.topic_history("demo", topic), "-", "+")
        lines = [int(fields[b"p"].partition(b"\n")[2]) for _, fields in entries]
        # A new server has another reign, under which such a topic begins anew.
        assert lines == list(range(lines[0], said + 1))
        assert topic in topics[:4] or lines[0] == 1


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_a_primary_that_is_lost_is_replaced_without_a_restart(cluster, store, how):
    await store.call("SET", "name", "value")
    address = await cluster.primary_of("name")
    await cluster.server(address).command("WAIT", 1, 20_000)
    if how == "kill":
        await cluster.kill(address)
    else:
        cluster.pause(address)
    with pytest.raises(Unavailable):
        await store.call("GET", "name")

    async def found() -> bool:
        try:
            return await store.call("GET", "name") == b"value"
        except Unavailable:
            return False

    await eventually(found)


async def test_a_server_that_hangs_under_a_write_does_not_stop_the_search_for_its_successor(cluster, store):
    """Wait until the successor takes a write."""
    await store.call("SET", "name", "value")
    frozen = await cluster.primary_of("name")
    await cluster.server(frozen).command("WAIT", 1, 20_000)
    cluster.pause(frozen)
    with suppress(Unavailable):
        await store.call("SET", "name", b"x" * (64 << 20))  # more than the kernel takes

    async def found() -> bool:
        with suppress(Unavailable):
            return bool(await store.call("SET", "name", "again"))
        return False

    await eventually(found)


async def test_a_url_that_does_not_say_that_it_is_a_cluster_is_told_of_in_the_log(cluster, caplog):
    async with connect(cluster.server(cluster.addresses[0]).url) as store:
        for number in range(10):
            with suppress(Unavailable):
                await store.call("GET", f"name{number}")
    assert len(logged(caplog, "redis_is_a_cluster")) == 1


async def test_a_lot_of_which_one_server_is_away_is_taken_by_the_others(cluster, store):
    """A sender is told of its own message, not of those that went with it."""
    broker, rooms = Broker(store, Settings()), [f"room:{number}" for number in range(20)]
    lost = await cluster.primary_of(names.topic_channel("demo", rooms[0]))
    servers = {room: await cluster.primary_of(names.topic_channel("demo", room)) for room in rooms}
    await cluster.kill(lost)
    outcomes = await broadcast(broker, [Post("demo", room, [b"1"], History(10, 60)) for room in rooms])
    refused = [
        room for room, outcome in zip(rooms, outcomes, strict=True) if isinstance(outcome, Unavailable)
    ]
    assert refused == [room for room in rooms if servers[room] == lost]

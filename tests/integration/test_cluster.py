"""A real Valkey Cluster: commands find their server, and topics stay live while it changes.

What is lost in a fail-over with a replica that lagged is told; what is not lost is delivered once, in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import pytest_asyncio
from redis.crc import key_slot

from realtime import keys
from realtime.broker import Broker, History, Post
from realtime.channels import Table
from realtime.config import Settings
from realtime.errors import Unavailable
from realtime.store import Command, Store, checked, connect
from tests.change_stream import ORDERS, publisher_to
from tests.clean_log import logged
from tests.gateway_fixture import Client, Gateway, eventually, running_gateway, settings_for, token_for
from tests.redis_servers.cluster import ValkeyCluster, valkey_cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_cluster(tmp_path_factory) -> AsyncIterator[ValkeyCluster]:
    async with valkey_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(one_cluster: ValkeyCluster) -> AsyncIterator[ValkeyCluster]:
    """Empty and whole, and whole again afterwards."""
    await one_cluster.flush()
    yield one_cluster
    for address in one_cluster.addresses:
        if not one_cluster.server(address).answers:
            await one_cluster.kill(address)
            await one_cluster.start(address)
    await one_cluster.wait_healthy()


@pytest_asyncio.fixture(loop_scope="module")
async def store(cluster: ValkeyCluster) -> AsyncIterator[Store]:
    async with connect(cluster.url) as store:
        yield store


@asynccontextmanager
async def gateways(database_url: str, cluster: ValkeyCluster, count: int = 1) -> AsyncIterator[list[Gateway]]:
    settings = settings_for(database_url, cluster.url, presence_ttl_seconds=4)
    async with running_gateway(settings) as one:
        await eventually(one.is_ready)
        if count == 1:
            yield [one]
            return
        async with running_gateway(settings) as other:
            await eventually(other.is_ready)
            yield [one, other]


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr("gateway.line.PROBE_SECONDS", 0.2)
    monkeypatch.setattr("gateway.line.FIRST_RETRY_SECONDS", 0.02)
    monkeypatch.setattr("gateway.line.LAST_RETRY_SECONDS", 0.1)


def slot_of_table(table: Table = ORDERS) -> int:
    return key_slot(keys.topic_channel("demo", table.topic).encode())


async def primary_of_table(cluster: ValkeyCluster, table: Table = ORDERS) -> str:
    return await cluster.primary_of(keys.topic_channel("demo", table.topic))


async def another_primary(cluster: ValkeyCluster, than: str) -> str:
    return min(await cluster.primaries() - {than})


async def table_elsewhere(cluster: ValkeyCluster, than: str) -> Table:
    """A table whose topic is on another server than this."""
    for number in range(100):
        table = Table("public", f"t{number}")
        if await primary_of_table(cluster, table) != than:
            return table
    raise AssertionError("all tables are on one server")


async def test_answers_come_in_the_order_of_the_commands_wherever_these_went(store):
    names = [f"name{number}" for number in range(50)]
    await store.call_many([Command(name, ("SET", name, name)) for name in names])
    assert await store.call_many([Command(name, ("GET", name)) for name in names]) == [
        name.encode() for name in names
    ]
    assert len({store.servers.of(name) for name in names}) == 3


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
            posts = [Post("demo", topic, [str(said).encode()], History(100_000, 60)) for topic in topics]
            checked(await broker.broadcast(posts))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(speak())
        await eventually(lambda: said > 20)
        for topic in topics[:4]:
            slot = key_slot(keys.topic_channel("demo", topic).encode())
            owner = await cluster.primary_of(keys.topic_channel("demo", topic))
            await cluster.move_slot(slot, await another_primary(cluster, owner))
        stop.set()
    for topic in topics:
        entries = await store.call("XRANGE", keys.topic_history("demo", topic), "-", "+")
        lines = [int(fields[b"p"].partition(b"\n")[2]) for _, fields in entries]
        # A new server has another reign, under which such a topic begins anew.
        assert lines == list(range(lines[0], said + 1))
        assert topic in topics[:4] or lines[0] == 1


@asynccontextmanager
async def losing(cluster: ValkeyCluster, primary: str) -> AsyncIterator[None]:
    """Let what is written in the block be lost: the replica that takes over afterwards never gets it."""
    server = cluster.server(primary)
    await server.command("WAIT", 1, 5000)
    replica = await cluster.replica_of(primary)
    cluster.pause(replica)
    await server.command("CLIENT", "KILL", "TYPE", "replica")
    yield
    await cluster.kill(primary)
    cluster.resume(replica)
    await cluster.wait_taken_over(primary)


async def room_elsewhere(cluster: ValkeyCluster) -> tuple[str, str]:
    """A room whose presence lies on a server where no node's life does, and that server."""
    async with connect(cluster.url) as store:
        lives = [life.decode() for life in await store.call("SMEMBERS", keys.nodes())]
    taken = {await cluster.primary_of(keys.node(life)) for life in lives}
    for number in range(100):
        primary = await cluster.primary_of(keys.topic_members("demo", f"presence:room:{number}"))
        if primary not in taken:
            return f"room:{number}", primary
    raise AssertionError("all rooms are with the nodes")


async def hear_presence(client: Client) -> tuple[str, list[str]]:
    message = await client.hear()
    return message["event"], [one["user_id"] for one in message["presences"]]


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_a_primary_that_is_lost_is_replaced_without_a_restart(cluster, store, how):
    await store.call("SET", "name", "value")
    address = await cluster.primary_of("name")
    await cluster.server(address).command("WAIT", 1, 5000)
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

    await eventually(found, deadline=30)


async def test_a_table_whose_slot_moves_goes_on_without_a_hole_and_without_resync(
    cluster, database_url, quick
):
    async with (
        gateways(database_url, cluster) as (gateway,),
        publisher_to(gateway.settings) as publisher,
        gateway.client() as client,
    ):
        await client.subscribe("table:orders")
        for _ in range(2):
            await publisher.publish(3)
            owner = await primary_of_table(cluster)
            await cluster.move_slot(slot_of_table(), await another_primary(cluster, owner))
            await publisher.publish(3)
        assert await client.hear_rows(12) == list(range(1, 13))
        await publisher.publish()
        assert await client.hear_rows(1) == [13]


async def test_what_happens_in_a_slot_that_is_long_on_the_move_is_taken_and_told_in_the_end(
    cluster, database_url, quick
):
    async with (
        gateways(database_url, cluster) as (gateway,),
        publisher_to(gateway.settings) as publisher,
        gateway.client() as client,
    ):
        await client.subscribe("table:orders")
        await publisher.publish(2)
        owner = await primary_of_table(cluster)
        async with cluster.moving(slot_of_table(), await another_primary(cluster, owner)) as move_keys:
            await publisher.publish(2)
            await move_keys()
            await publisher.publish(2)
            assert await gateway.is_ready()
        assert await client.hear_rows(6) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_what_is_said_to_other_servers_is_taken_while_one_has_nobody_left(
    cluster, database_url, monkeypatch, how
):
    monkeypatch.setattr("gateway.line.DEAD_AFTER_SECONDS", 0.5)
    monkeypatch.setattr("gateway.line.PROBE_SECONDS", 0.1)
    async with gateways(database_url, cluster) as (gateway,), gateway.client() as client:
        lost = await primary_of_table(cluster)
        servers = {
            room: await cluster.primary_of(keys.topic_channel("demo", room))
            for room in (f"room:{number}" for number in range(20))
        }
        await cluster.kill(await cluster.replica_of(lost))
        if how == "kill":
            await cluster.kill(lost)
        else:
            cluster.pause(lost)

        async def not_ready() -> bool:
            return not await gateway.is_ready()

        await eventually(not_ready)
        refused = set()
        for room in servers:
            answer = await client.ask(type="broadcast", channel=room, payload=1, ref=room)
            refused |= {room} if answer["type"] == "error" else set()
        assert refused == {room for room, server in servers.items() if server == lost}


async def test_a_server_that_hangs_under_a_write_does_not_stop_the_search_for_its_successor(cluster, store):
    await store.call("SET", "name", "value")
    frozen = await cluster.primary_of("name")
    await cluster.server(frozen).command("WAIT", 1, 5000)
    cluster.pause(frozen)
    with suppress(Unavailable):
        await store.call("SET", "name", b"x" * (64 << 20))  # more than the kernel takes

    async def found() -> bool:
        with suppress(Unavailable):
            return bool(await store.call("SET", "name", "again"))
        return False

    await eventually(found, deadline=30)


async def test_a_clean_fail_over_loses_nothing_of_a_table(cluster, database_url, quick):
    async with (
        gateways(database_url, cluster, 2) as (here, there),
        publisher_to(here.settings) as publisher,
        here.client() as one,
        there.client() as other,
    ):
        for client in (one, other):
            await client.subscribe("table:orders")
        await publisher.publish(3)
        await cluster.failover(await primary_of_table(cluster))
        await publisher.publish(3)
        for client in (one, other):
            assert await client.hear_rows(6) == list(range(1, 7))


async def test_topics_of_other_servers_go_on_while_one_hangs(cluster, database_url):
    async with (
        gateways(database_url, cluster) as (gateway,),
        publisher_to(gateway.settings) as publisher,
        gateway.client() as client,
    ):
        hanging = await primary_of_table(cluster)
        table = await table_elsewhere(cluster, than=hanging)
        await client.subscribe("table:orders")
        await client.subscribe(f"table:{table.name}")
        cluster.pause(hanging)
        for number in range(1, 21):
            await publisher.publish(table=table)
            assert await client.hear_rows(1) == [number]
        cluster.resume(hanging)


async def test_what_a_replica_that_takes_over_never_had_is_told_as_resync(cluster, database_url, quick):
    async with (
        gateways(database_url, cluster) as (gateway,),
        publisher_to(gateway.settings) as publisher,
        gateway.client() as client,
    ):
        await client.subscribe("table:orders")
        await publisher.publish(2)
        assert await client.hear_rows(2) == [1, 2]
        async with losing(cluster, await primary_of_table(cluster)):
            await publisher.publish(3)
            assert await client.hear_rows(3) == [3, 4, 5]

        async def published() -> bool:
            try:
                return bool(await publisher.publish())
            except Unavailable:
                return False

        await eventually(published)
        assert (await client.hear())["type"] == "resync"
        await publisher.publish()
        assert await rows_after_resync(client, publisher.published)


async def rows_after_resync(client: Client, last: int) -> list[int]:
    """What is heard after the last `resync`, up to a row; without a hole."""
    rows: list[int] = []
    while not rows or rows[-1] != last:
        message = await client.hear()
        rows = [] if message["type"] == "resync" else [*rows, message["data"]["id"]]
    assert rows == list(range(rows[0], last + 1))
    return rows


async def test_presence_that_a_replica_never_had_is_put_back(cluster, database_url, quick):
    """The life of the node lies on another server, which does not change."""
    async with (
        gateways(database_url, cluster, 2) as (here, there),
        here.client(token_for(sub="alice")) as alice,
        there.client(token_for(sub="bob")) as bob,
    ):
        room, primary = await room_elsewhere(cluster)
        await bob.subscribe(f"presence:{room}")
        assert await hear_presence(bob) == ("sync", [])
        async with losing(cluster, primary):
            assert (await alice.ask(type="presence", channel=room, state={"n": 1}, ref=1))["type"] == "ack"
            assert await hear_presence(bob) == ("join", ["alice"])

        async def is_there() -> bool:
            status, answer, _ = await there.rest("GET", f"/presence?channel={room}", token_for())
            return status == 200 and [one["user_id"] for one in answer["presences"]] == ["alice"]

        await eventually(is_there, deadline=30)


async def test_a_url_that_does_not_say_that_it_is_a_cluster_is_told_of_in_the_log(cluster, caplog):
    async with connect(cluster.server(cluster.addresses[0]).url) as store:
        for number in range(10):
            with suppress(Unavailable):
                await store.call("GET", f"name{number}")
    assert len(logged(caplog, "redis_is_a_cluster")) == 1


async def test_a_lot_of_which_one_server_is_away_is_taken_by_the_others(cluster, store):
    """A sender is told of its own message, not of those that went with it."""
    broker, rooms = Broker(store, Settings()), [f"room:{number}" for number in range(20)]
    lost = await cluster.primary_of(keys.topic_channel("demo", rooms[0]))
    servers = {room: await cluster.primary_of(keys.topic_channel("demo", room)) for room in rooms}
    await cluster.kill(lost)
    outcomes = await broker.broadcast([Post("demo", room, [b"1"], History(10, 60)) for room in rooms])
    refused = [
        room for room, outcome in zip(rooms, outcomes, strict=True) if isinstance(outcome, Unavailable)
    ]
    assert refused == [room for room in rooms if servers[room] == lost]

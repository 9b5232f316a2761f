"""A lagging replica takes the place of Redis, and nothing stands behind what clients said.

Broadcasts that may be lost are told as `resync`, on every node; presence is as it should be again soon.
Long, since the pair of servers that it fails over stands here, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from operator import itemgetter

import pytest
from redis.asyncio import Redis

from gateway.broker import Broker, Post
from gateway.presence.change import Change
from gateway.presence.node_store import NodeStore
from gateway.presence.presence_store import PresenceStore
from realtime import names
from realtime.errors import Unavailable
from realtime.publications import Position
from realtime.redis.client import connect
from realtime.redis.failures import checked
from realtime.redis.history import History
from realtime.settings.config import Settings
from tests import topics
from tests.chaos.link import Link, Silence
from tests.chaos.redis_pair import RedisPair
from tests.fleet_fixture import crowd, end_of, history, present
from tests.gateway_fixture import QUICK_REDIS, Gateway, eventually, settings_for, token_for
from tests.ports import free_port

pytestmark = pytest.mark.standalone  # with a replica of its own

ROOM, NEW_ROOM, LOBBY = "room:a", "room:new", "room:lobby"
NO_LAG = 0.0  # beyond what the test brings about


class Fleet:
    """Where the nodes find Redis, and how its replica comes to take its place."""

    def __init__(self, pair: RedisPair, link: Link) -> None:
        self._pair = pair
        self._link = link

    @property
    def url(self) -> str:
        return self._pair.url(self._link)

    async def stop_replicating(self) -> None:
        """What is said from now on is lost; the replica has all that was said before."""
        async with Redis.from_url(self.url, socket_timeout=45) as redis:
            assert await redis.wait(1, 30_000) == 1
        self._pair.replication.black_hole(Silence.HELD)

    async def fail_over(self) -> None:
        await self._pair.promote_lagging(NO_LAG)

    async def fail_over_beside(self, leaving: Sequence[str] = ()) -> None:
        """The old primary lives on as the new one's replica; only connections of some types leave it."""
        await self._pair.promote_beside(NO_LAG)
        for kind in leaving:
            await self._pair.replica.command("CLIENT", "KILL", "TYPE", kind)


@pytest.fixture
async def fleet(tmp_path):
    pair = RedisPair(tmp_path / "redis", (free_port(), free_port()))
    link = pair.way("gateways to Redis")
    async with pair.running(), link.listening():
        try:
            await pair.has_replica()
            yield Fleet(pair, link)
        finally:
            pair.replication.heal()


@pytest.fixture
def timings():
    return QUICK_REDIS


@pytest.fixture
async def settings(database_url, fleet):
    return settings_for(database_url, fleet.url, presence_ttl_seconds=3)


async def say(client, payload, channel=ROOM):
    """Broadcast, as soon as that is possible."""

    async def is_said() -> bool:
        await client.say(type="broadcast", channel=channel, payload=payload, ref=payload, self=False)
        while (answer := await client.hear()).get("ref") != payload:
            pass
        return answer["type"] == "ack"

    await eventually(is_said)


async def hear_resync(client, channel=ROOM):
    message = await client.hear()
    assert (message["type"], message["channel"]) == ("resync", channel), message
    return message["position"]


async def hear_payloads(client, count):
    return [(await client.hear())["payload"] for _ in range(count)]


@pytest.fixture
async def clients(here, there):
    """A subscriber on each node, and a speaker on the first."""
    async with here.client() as alice, there.client() as bob, here.client() as speaker:
        for client in (alice, bob):
            await client.subscribe(ROOM)
        yield alice, bob, speaker


async def test_broadcasts_that_were_lost_are_told_as_resync_on_every_node(clients, fleet):
    *subscribers, speaker = clients
    await say(speaker, "kept")
    await fleet.stop_replicating()
    await say(speaker, "lost")
    for client in subscribers:
        assert await hear_payloads(client, 2) == ["kept", "lost"]
    await fleet.fail_over()
    await say(speaker, "with the number of the lost one")
    positions = [await hear_resync(client) for client in subscribers]
    await say(speaker, "after")
    for client, position in zip(subscribers, positions, strict=True):
        heard = await hear_payloads(client, 1)
        if heard != ["after"]:
            heard += await hear_payloads(client, 1)
        assert heard[-1] == "after"
        assert (await client.subscribe(ROOM, since=position))["recovered"] is True
        assert await hear_payloads(client, len(heard)) == heard


async def test_nobody_recovers_from_a_broadcast_that_was_lost(here, there, fleet):
    async with here.client() as alice, there.client() as bob, here.client() as speaker:
        await alice.subscribe(ROOM)
        await say(speaker, "kept")
        await fleet.stop_replicating()
        await say(speaker, "lost")
        kept, lost = [(await alice.hear())["id"] for _ in range(2)]
        await fleet.fail_over()
        await say(speaker, "with the number of the lost one")
        for since in (kept, lost):
            assert (await bob.subscribe(ROOM, since=since))["recovered"] is False
        await say(speaker, "after")
        after = await bob.hear()
        assert after["payload"] == "after"
        assert (await bob.subscribe(ROOM, since=after["id"]))["recovered"] is True


async def test_after_a_fail_over_that_lost_nothing_broadcasts_go_on(clients, fleet):
    *subscribers, speaker = clients
    await say(speaker, "kept")
    await fleet.fail_over()
    for client in subscribers:
        assert await hear_payloads(client, 1) == ["kept"]
        await hear_resync(client)
    for number in range(5):
        await say(speaker, number)
    for client in subscribers:
        assert await hear_payloads(client, 5) == [*range(5)]


async def test_nodes_leave_a_primary_that_was_demoted_under_them_and_tell_resync(clients, fleet):
    """Every connection stays healthy, and the demoted server passes on what the new one publishes."""
    *subscribers, speaker = clients
    for client in subscribers:
        await client.subscribe(NEW_ROOM)
    await fleet.stop_replicating()
    await say(speaker, "lost", ROOM)
    await say(speaker, "lost", NEW_ROOM)
    for client in subscribers:
        assert await hear_payloads(client, 2) == ["lost", "lost"]
    await fleet.fail_over_beside()
    await say(speaker, "after", ROOM)
    await say(speaker, "after", NEW_ROOM)
    for client in subscribers:
        told = [await client.hear() for _ in range(2)]
        while len({one["channel"] for one in told if one["type"] == "resync"}) < 2:
            told.append(await client.hear())
        for channel in (ROOM, NEW_ROOM):
            of_channel = [one for one in told if one["channel"] == channel]
            assert of_channel[0]["type"] == "resync", "nothing is handed on before what was lost is told"


def id_of(client):
    return client.connected["connection_id"]


async def are_present(gateway: Gateway, entries: list, channel: str | None = None) -> bool:
    """Whether `GET /presence` tells of these, in whatever order, as soon as it can tell."""
    params = {} if channel is None else {"channel": channel}
    status, answer, _ = await gateway.rest("GET", "/presence", token_for(sub="reader"), params=params)
    by_id = itemgetter("connection_id")
    return status == 200 and sorted(answer["presences"], key=by_id) == sorted(entries, key=by_id)


async def test_whoever_left_unheard_is_no_ghost(here, there, fleet):
    async with there.client(token_for(sub="bob")) as bob, there.client(token_for(sub="eve")) as stayed:
        async with here.client() as gone, here.client() as stopped:
            await gone.ask(type="presence", state={}, ref=1)
            await stopped.ask(type="presence", state={}, ref=1)
            await stayed.ask(type="presence", state={"n": 1}, ref=1)
            watched = await crowd(bob)
            assert watched.ids == {id_of(gone), id_of(stopped), id_of(stayed)}
            await fleet.stop_replicating()
            await stopped.ask(type="presence", state=None, ref=2)
        await watched.becomes(lambda: watched.ids == {id_of(stayed)})
        left = watched.times("leave")
        await fleet.fail_over()
        watched.in_sync = False
        await watched.is_in_sync()
        await watched.becomes(lambda: watched.ids == {id_of(stayed)})
        entry = [watched.entries[id_of(stayed)]]
        await eventually(lambda: are_present(here, entry))
        await watched.is_up_to_date()
        again = watched.times("leave")
        assert again[id_of(stayed)] == 0, "whoever stayed did not leave"
        assert all(again[id_of(one)] <= left[id_of(one)] + 1 for one in (gone, stopped))
        assert (await end_of(here, id_of(gone)))["reason"] == "node_lost"


async def test_whoever_joined_unheard_is_present_again(here, there, fleet):
    async with there.client(token_for(sub="bob")) as bob, here.client() as alice, here.client() as new:
        watched, lobby = await crowd(bob), await crowd(alice, f"presence:{LOBBY}")
        await fleet.stop_replicating()
        async with here.client() as unheard:
            for client in (alice, new, unheard):
                await client.ask(type="presence", state={"n": 1}, ref=1)
            await new.ask(type="presence", channel=LOBBY, state={"n": 2}, ref=1)
            in_lobby = await present(here, LOBBY)
            before = {entry["connection_id"]: entry for entry in await present(there)}
            await watched.becomes(lambda: watched.entries == before)
            await fleet.fail_over()
            await eventually(lambda: are_present(there, [*before.values()]))
            await eventually(lambda: are_present(there, in_lobby, LOBBY))
            await watched.becomes(lambda: watched.entries == before)
            await lobby.becomes(lambda: lobby.ids == {id_of(new)})
        await watched.becomes(lambda: watched.ids == {id_of(alice), id_of(new)})
        assert (await end_of(there, id_of(unheard)))["duration_seconds"] >= 0


async def test_a_fail_over_to_before_a_node_took_its_last_life_announces_no_leave(here, there, fleet):
    async with there.client(token_for(sub="bob")) as bob, here.client() as alice:
        await alice.ask(type="presence", state={}, ref=1)
        watched = await crowd(bob)
        await fleet.stop_replicating()
        async with Redis.from_url(fleet.url) as redis:
            (before,) = await redis.hkeys(names.topic_members("demo", "presence"))
            assert isinstance(before, bytes)
            await redis.delete(names.node(before.decode().partition("/")[0]))
            await eventually(lambda: has_moved(redis, before))
        await fleet.fail_over()
        watched.in_sync = False
        await watched.is_in_sync()
        left = watched.times("leave")  # the other node may have been the first to see that a life was over
        async with Redis.from_url(fleet.url) as redis:
            await eventually(lambda: all_lives_go_on(redis))
        entry = [watched.entries[id_of(alice)]]
        await eventually(lambda: are_present(there, entry))
        await watched.is_up_to_date()
        assert watched.ids == {id_of(alice)}
        assert watched.times("leave") == left
        assert (await history(there, event="disconnect"))["connections"] == []


async def has_moved(redis: Redis, field: bytes) -> bool:
    now = await redis.hkeys(names.topic_members("demo", "presence"))
    return len(now) == 1 and now != [field]


async def all_lives_go_on(redis: Redis) -> bool:
    """Whether two nodes have their new life, and the old ones were cleaned up after."""
    lives = {life.decode() for life in await redis.smembers(names.nodes()) if isinstance(life, bytes)}
    return len(lives) == 2 and not any(life.endswith("-0") for life in lives)


@asynccontextmanager
async def brokers(fleet: Fleet) -> AsyncIterator[Broker]:
    """A process that only calls Redis, over several connections, as the notifier does."""
    async with connect(fleet.url) as store:
        broker = Broker(store, Settings())
        await asyncio.gather(*(broker.position("demo", f"room:{number}") for number in range(5)))
        yield broker


async def broadcast(broker: Broker, text: str) -> None:
    checked(await topics.broadcast(broker, [Post("demo", ROOM, [text.encode()], History(100, 300))]))


async def test_what_is_said_first_after_a_fail_over_begins_a_new_history(fleet):
    async with brokers(fleet) as broker:
        await broadcast(broker, "kept")
        before = await broker.position("demo", ROOM)
        await fleet.fail_over()
        await eventually(lambda: can(broadcast(broker, "first")))
        position = await broker.position("demo", ROOM)
        assert await topics.missed(broker, "demo", ROOM, before, position) is None
        beginning = Position(position.epoch, 0)
        missed = await topics.missed(broker, "demo", ROOM, beginning, position)
        assert missed is not None
        (first,) = missed
        assert first.lines == [b"first"]


async def can(call: Awaitable[object]) -> bool:
    try:
        await call
    except Unavailable:
        return False
    return True


async def test_no_connection_to_a_demoted_primary_is_used_for_long(fleet):
    """Wait until one broadcast is taken; then ten at once must be taken, over all connections."""
    async with brokers(fleet) as broker:
        await fleet.fail_over_beside()
        await eventually(lambda: can(broadcast(broker, "first")))
        await asyncio.gather(*(broadcast(broker, f"{number}") for number in range(10)))


async def test_a_subscription_that_stayed_with_the_old_primary_tells_resync(clients, fleet):
    """Nothing is said: subscribers learn it by the probe, whose own connection leads to the new one."""
    *subscribers, _ = clients
    await fleet.fail_over_beside(leaving=["normal"])
    for client in subscribers:
        await hear_resync(client)


@pytest.mark.parametrize("change_first", [True, False])
async def test_presence_has_new_numbers_after_a_fail_over(fleet, change_first):
    """A node that missed the fail-over must not take a change for one that it has."""
    async with connect(fleet.url) as store:
        presence, topic = PresenceStore(store), ("demo", "presence")
        for connection in ("a", "b"):
            await presence.change({topic: [Change(f"life/{connection}", b"{}")]})
        before, _ = await presence.members(*topic)
        await fleet.fail_over()
        await eventually(lambda: can(NodeStore(store).all()))
        if change_first:
            await presence.change({topic: [Change("life/c", b"{}")]})
        position, members = await presence.members(*topic)
        assert position.epoch != before.epoch
        assert (position.offset, len(members)) == ((1, 3) if change_first else (0, 2))

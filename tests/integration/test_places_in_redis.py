"""How connections are counted over all nodes, by the scripts themselves, in a real Redis."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from gateway.presence.connection_store import Arrival, ConnectionStore, Departure, Open
from realtime import names
from realtime.redis.client import Store
from realtime.settings.config import Limits, Settings
from tests.former_scripts import call_former

PER_USER, PER_IP = "max_connections_per_user", "max_connections_per_ip"
HERE, DEAD, OLD = "here-0", "dead-0", "old-0"
DAY_MS = 86_400_000


def facts(name: str, user: str | None = "bob", ip: str = "127.0.0.1") -> Open:
    return Open(connection_id=name, user_id=user, ip=ip, user_agent=None, node="n", connected_at=1.0)


class Entrance:
    """Lets connections of a project in and out, as nodes do."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self.connections = ConnectionStore(store, Settings())
        self.limits = limits

    async def enter(self, life: str, *connection_ids: str, **more: Any) -> list[str | None]:
        """What forbids each; of user and address in `of`, if they are given."""
        return await self.connections.connect([self.arrival(life, name, **more) for name in connection_ids])

    def arrival(self, life: str, name: str, before=(), suspects=(), is_in=False, **of: Any) -> Arrival:
        return Arrival("demo", life, before, facts(name, **of), self.limits, is_in, suspects)

    async def leave(self, life: str, *connection_ids: str, before: tuple[str, ...] = (), **of: Any) -> None:
        ends = [
            Departure("demo", life, before, facts(name, **of), 1000, None, 2.0) for name in connection_ids
        ]
        await self.connections.disconnect(ends)


@pytest.fixture
async def door(store: Store) -> Entrance:
    return Entrance(store, Limits(max_connections=6, max_connections_per_user=3, max_connections_per_ip=5))


async def counts(store: Store, *lives: str) -> list[dict[str, int]]:
    """What is counted of the project, and of lives."""
    connection_ids = [
        names.connection_counts("demo"),
        *(names.incarnation_counts("demo", life) for life in lives),
    ]
    found = [await store.call("HGETALL", name) for name in connection_ids]
    return [{field.decode(): int(value) for field, value in one.items()} for one in found]


async def test_places_of_a_life_that_is_not_known_to_be_alive_do_not_count(store):
    door = Entrance(store, Limits(max_connections_per_user=3))
    assert await door.enter(DEAD, "1", "2", "3") == [None] * 3
    assert await door.enter(HERE, "4") == [PER_USER]
    assert await door.enter(HERE, "4", "5", "6", "7", suspects=(DEAD,)) == [None] * 3 + [PER_USER]
    assert await door.enter(HERE, "8") == [PER_USER], "it is alive after all: six of three"
    await door.leave(DEAD, "1", "2", "3")
    assert await door.enter(HERE, "8") == [PER_USER]
    await door.leave(HERE, "4")
    assert await door.enter(HERE, "8") == [None]


async def test_each_limit_leaves_out_the_places_of_each_suspect(door):
    for number, life in enumerate((DEAD, "dead-1")):
        assert await door.enter(
            life, *(f"{life}{n}" for n in range(3)), user=f"u{number}", ip=f"i{number}"
        ) == ([None] * 3)
    both = (DEAD, "dead-1")
    assert await door.enter(HERE, "1", user="eve") == ["max_connections"]
    assert await door.enter(HERE, "1", user="u0", suspects=both[1:]) == [PER_USER]
    assert await door.enter(HERE, "1", "2", "3", user="u0", suspects=both) == [None] * 3
    assert await door.enter(HERE, "4", user="u0", suspects=both) == [PER_USER]
    assert await door.enter(HERE, "4", "5", user=None, suspects=both) == [None] * 2
    assert await door.enter(HERE, "6", user=None, suspects=both) == [PER_IP]
    assert await door.enter(HERE, "6", user=None, ip="i9", suspects=both) == [None]
    assert await door.enter(HERE, "7", user=None, ip="i9", suspects=both) == ["max_connections"]


async def test_a_connection_that_moves_to_a_new_life_moves_its_count(door, store):
    await door.enter(HERE, "1", "2")
    assert await door.enter("here-1", "1", "1", before=(HERE,), is_in=True) == [None, None]
    expected = {"all": 1, "user:bob": 1, "address:127.0.0.1": 1}
    assert await counts(store, HERE, "here-1") == [
        {"user:bob": 2, "address:127.0.0.1": 2},
        expected,
        expected,
    ]
    await door.leave("here-1", "1", "2", before=(HERE,))
    assert await counts(store, HERE, "here-1") == [{}, {}, {}]


async def test_only_what_is_limited_is_counted_by_life(store):
    door = Entrance(store, Limits())
    await door.enter(HERE, "1", "2")
    assert await counts(store, HERE) == [{"user:bob": 2, "address:127.0.0.1": 2}, {"all": 2}]
    await door.leave(HERE, "1", "2")
    assert await counts(store, HERE) == [{}, {}]


async def test_who_is_in_is_counted_whatever_the_limits(door, store):
    connection_ids = [str(number) for number in range(10)]
    assert await door.enter(HERE, *connection_ids, is_in=True) == [None] * 10
    assert await store.call("HLEN", names.open_connections("demo")) == 10
    assert (await counts(store, HERE))[1]["user:bob"] == 10


async def test_whoever_is_taken_out_twice_is_counted_once(door, store):
    await door.enter(HERE, "1", "2")
    for _ in range(2):
        await door.leave(HERE, "1")
    assert await counts(store, HERE) == [
        {"user:bob": 1, "address:127.0.0.1": 1},
        {"all": 1, "user:bob": 1, "address:127.0.0.1": 1},
    ]


# Counts that are wrong


@pytest.mark.parametrize("wrong", [-5, 0, 99])
async def test_wrong_counts_are_right_again_when_nobody_is_left(door, store, wrong):
    await door.enter(HERE, "1")
    for name in (names.connection_counts("demo"), names.incarnation_counts("demo", HERE)):
        await store.call("HSET", name, "user:bob", wrong, "user:gone", wrong)
    answers = await door.enter(HERE, "2")
    assert answers == [PER_USER if wrong == 99 else None]
    found = (await counts(store, HERE))[0]
    assert found["user:bob"] > 0 or wrong == 0, "never negative"
    await door.leave(HERE, "1", "2")
    assert (await counts(store))[0] == {}
    assert await door.enter(HERE, "3") == [None]


async def test_a_suspect_that_is_counted_too_high_makes_no_count_negative(door, store):
    await door.enter(DEAD, "1", "2", "3")
    await store.call("HSET", names.incarnation_counts("demo", DEAD), "user:bob", 1_000)
    assert await door.enter(HERE, "4", "5", suspects=(DEAD,)) == [None, None]
    assert (await counts(store))[0]["user:bob"] == 5


async def test_counts_of_a_life_that_nobody_knows_any_more_are_gone_in_a_week(door, store):
    await door.enter(DEAD, "1")
    assert 6 * DAY_MS < await store.call("PTTL", names.incarnation_counts("demo", DEAD)) <= 7 * DAY_MS


# Old nodes beside new ones


async def enters_old(store: Store, name: str, limits: Limits) -> str | None:
    """Let a connection in as a node of the version before does."""
    answer = await call_former(
        *(store, ["connect_v1"], old_keys(), f"{OLD}/{name}", msgspec.json.encode(facts(name)), "bob"),
        *("127.0.0.1", limits.max_connections, limits.max_connections_per_user),
        *(limits.max_connections_per_ip, "{}", 100, DAY_MS),
    )
    return answer and answer.decode()


async def leaves_old(store: Store, field: str) -> int:
    words = [field, "bob", "127.0.0.1", "{}", 100, DAY_MS]
    return int(await call_former(store, ["disconnect_v1"], old_keys(), *words))


def old_keys() -> list[str]:
    return [names.open_connections("demo"), names.connection_counts("demo"), names.connection_history("demo")]


async def test_old_and_new_nodes_count_the_same_connections(door, store):
    assert await door.enter(HERE, "1", "2") == [None, None]
    assert await enters_old(store, "3", door.limits) is None
    assert await enters_old(store, "4", door.limits) == PER_USER
    assert await door.enter(HERE, "4") == [PER_USER]
    assert await door.enter(HERE, "4", suspects=(OLD,)) == [PER_USER], "as before: it counts until it is dead"
    await door.leave(OLD, "3")  # cleaned up after by a new node
    assert await leaves_old(store, f"{HERE}/1") == 1  # and the other way round
    assert await counts(store) == [{"user:bob": 1, "address:127.0.0.1": 1}]
    await door.leave(HERE, "1", "2")
    assert (await counts(store))[0] == {}


# What an admission costs


# What servers, replicas and sentinels ask each other, whatever clients do.
UPKEEP = {"info", "ping", "replconf", "psync", "publish", "subscribe", "role", "hello", "client", "cluster"}


async def commands(store: Store) -> Counter[str]:
    found: Counter[str] = Counter()
    for stats in (await store.everywhere("INFO", "commandstats")).values():
        found.update({name: stat["calls"] for name, stat in stats.items()})
    return found


async def cost(store: Store, door: Entrance, name: str) -> Counter[str]:
    """The commands that Redis carries out for a connection that comes in without the places of a suspect."""
    before = await commands(store)
    assert await door.enter(HERE, name, suspects=(DEAD,)) == [None]
    spent = await commands(store) - before
    return Counter(
        {
            name: calls
            for name, calls in spent.items()
            if name.removeprefix("cmdstat_").partition("|")[0] not in UPKEEP
        }
    )


async def test_an_admission_costs_the_same_however_many_are_there(store):
    door = Entrance(store, Limits(max_connections=3, max_connections_per_user=3, max_connections_per_ip=3))
    await door.enter(DEAD, "1", "2", "3")
    few = await cost(store, door, "4")
    for start in range(0, 3_000, 500):
        await door.enter(DEAD, *(f"more{start + number}" for number in range(500)), is_in=True)
    assert await cost(store, door, "5") == few
    assert few.total() < 25
    assert not any(word in name for name in few for word in ("scan", "hgetall", "hkeys", "hvals"))

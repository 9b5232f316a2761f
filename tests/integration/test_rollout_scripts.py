"""Nodes of the version before run beside new ones: both write the same keys, by other scripts."""

from __future__ import annotations

from typing import Any

import pytest

from notifier.feed.publication_store import Chunk, Diverged, PublicationStore
from realtime import names
from realtime.redis.client import Store
from realtime.redis.history import History, new_epoch, topic_keys
from tests.fleet_fixture import crowd, present
from tests.former_scripts import call_former

LOBBY = "presence:room:lobby"
MEMBERS, META = names.topic_members("demo", LOBBY), names.topic_meta("demo", LOBBY)
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


async def changes_presence(store: Store, *change: Any) -> None:
    await call_former(
        *(store, ["reign_v1", "presence_v1"], [MEMBERS, META]),
        *(names.topic_channel("demo", LOBBY), new_epoch(), DAY_MS, *change),
    )


async def test_presence_of_an_old_node_is_heard_by_a_new_one_and_the_other_way_round(gateway, store):
    async with gateway.client() as alice, gateway.client() as bob:
        watched, who = await crowd(bob, LOBBY), alice.connected["connection_id"]
        await call_former(store, ["reign_v1", "members_v1"], [MEMBERS, META], new_epoch(), DAY_MS)
        await changes_presence(store, "set", "old-0/eve", '{"connection_id":"eve","state":{}}')
        await alice.ask(type="presence", channel="room:lobby", state={}, ref=1)
        await watched.becomes(lambda: watched.ids == {"eve", who})
        assert len(await present(gateway, "room:lobby")) == 2
        await alice.ask(type="presence", channel="room:lobby", state=None, ref=1)
        assert await store.call("PTTL", META) > HOUR_MS, "somebody is there"
        await changes_presence(store, "remove", "old-0/eve", "")
        await watched.becomes(lambda: not watched.ids)
        assert watched.told == [("join", "eve"), ("join", who), ("leave", who), ("leave", "eve")]
        _, members = await call_members(store)
        assert members == []


async def call_members(store: Store) -> tuple[bytes, list[bytes]]:
    epoch, _, members = await call_former(
        store, ["reign_v1", "members_v1"], [MEMBERS, META], new_epoch(), DAY_MS
    )
    return epoch, members


async def test_what_an_old_node_keeps_for_an_hour_a_new_one_does_not_cut_short(gateway, store):
    topic = [names.topic_meta("demo", "room:a"), names.topic_history("demo", "room:a")]
    epoch, _ = await call_former(store, ["reign_v1", "position_v1"], topic, new_epoch(), HOUR_MS, "reign")
    async with gateway.client() as client:
        answer = await client.subscribe("room:a", since=f"{epoch.decode()}-0")
        assert answer["recovered"] is True
        assert await store.call("PTTL", topic[0]) > HOUR_MS / 2


ORDERS, KEPT = "table:public.orders", History(6, 3_600)


async def publishes_as_before(store: Store, after: str, token: str, *ids: int) -> Any:
    return await call_former(
        *(store, ["append_v1", "changes_v1"], topic_keys("demo", ORDERS)),
        *(names.topic_channel("demo", ORDERS), after, token, ",".join(map(str, ids)), ids[-1], len(ids)),
        *("\n".join(map(str, ids)), new_epoch(), *KEPT.arguments()),
    )


async def publishes(store: Store, after: str, token: str, *ids: int) -> int:
    chunk = Chunk(ORDERS, after, list(ids), [str(one) for one in ids])
    return await PublicationStore(store).publish("demo", token, [chunk], KEPT)


async def test_notifiers_of_both_versions_go_on_from_what_the_other_has_published(store: Store) -> None:
    meta, history = topic_keys("demo", ORDERS)
    assert await publishes(store, "", "b1", 1, 2) == 2
    assert await publishes_as_before(store, "b1:2", "b2", 3) == [1, b""]
    assert await publishes(store, "b1:2", "b2", 3, 4) == 1, "the batch of the former leader, cut elsewhere"
    assert await publishes_as_before(store, "b1:2", "b2", 3, 4) == [0, b""]
    assert await publishes_as_before(store, "b1:9", "b3", 9) == [-1, b"b2:4"]
    with pytest.raises(Diverged, match=ORDERS):
        await publishes(store, "b1:9", "b3", 9)
    for number in range(5, 15, 2):
        assert await publishes(
            store, f"b{number - 1 if number > 5 else 2}:{number - 1}", f"b{number}", number
        )
        assert await publishes_as_before(store, f"b{number}:{number}", f"b{number + 1}", number + 1)
    entries = await store.call("XRANGE", history, "-", "+")
    assert [fields[b"p"].partition(b"\n")[2] for _, fields in entries] == [b"%d" % n for n in range(9, 15)]
    stands = await store.call("HGETALL", meta)
    assert (stands[b"offset"], stands[b"mark"], stands[b"oldest"]) == (b"14", b"b14:14", entries[0][0])
    assert int(stands[b"bytes"]) == sum(len(fields[b"p"]) for _, fields in entries)

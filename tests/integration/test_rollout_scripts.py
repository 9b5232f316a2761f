"""Nodes of the version before run beside new ones: both write the same keys, by other scripts."""

from __future__ import annotations

from typing import Any

from realtime import names
from realtime.redis.client import Store
from realtime.redis.history import new_epoch
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

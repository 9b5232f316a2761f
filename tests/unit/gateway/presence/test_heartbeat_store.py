"""Heartbeats as Redis has them, of every incarnation that was not cleaned up."""

from __future__ import annotations

from gateway.presence.heartbeat_store import Heartbeat, HeartbeatStore
from realtime import names
from realtime.redis.client import Store


async def test_who_beats_is_alive_and_who_does_not_is_silent(store: Store) -> None:
    beats = HeartbeatStore(store)
    await store.call("SADD", names.nodes(), "beats", "silent", "dead")
    for one in ("beats", "silent"):
        await store.call("SET", names.node(one), b"{}", "PX", 60_000)
    await beats.beat("beats", 30)
    found = await beats.of_all()
    assert 0 < found.pop("beats").beat_seconds <= 30
    assert found == {"silent": Heartbeat(True, 0), "dead": Heartbeat(False, 0)}


async def test_a_beat_of_nobody_known_counts_for_nobody(store: Store) -> None:
    beats = HeartbeatStore(store)
    await beats.beat("stranger", 30)
    assert await beats.of_all() == {}

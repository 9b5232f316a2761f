"""Open connections as Redis has them: admitted within limits, and recorded with how they ended."""

from __future__ import annotations

import pytest

from gateway.presence.connection_store import (
    KEPT_CHARACTERS,
    Arrival,
    ConnectionStore,
    Departure,
    Open,
    kept_user,
)
from realtime import names
from realtime.redis.client import Store
from realtime.settings.config import Limits, Settings


@pytest.fixture
def connections(store: Store) -> ConnectionStore:
    return ConnectionStore(store, Settings())


def facts(name: str) -> Open:
    return Open(
        connection_id=name, user_id="ann", ip="127.0.0.1", user_agent=None, node="n", connected_at=1_000.0
    )


def arrival(name: str, most: int = 1, *, is_in: bool = False) -> Arrival:
    return Arrival("demo", "n-0", (), facts(name), Limits(max_connections=most), is_in=is_in)


def departure(name: str) -> Departure:
    return Departure("demo", "n-0", (), facts(name), 1000, "bye", 1_002.5)


async def test_one_too_many_is_refused_until_another_one_goes(connections: ConnectionStore) -> None:
    assert await connections.connect([arrival("a"), arrival("b")]) == [None, "max_connections"]
    assert await connections.open_of("demo", "n-0") == [facts("a")]
    await connections.disconnect([departure("a")])
    assert await connections.connect([arrival("b")]) == [None]
    assert await connections.open_of("demo", "n-0") == [facts("b")]
    assert await connections.open_of("demo", "n-1") == []


async def test_who_was_admitted_before_is_counted_whatever_the_limit_is(connections: ConnectionStore) -> None:
    assert await connections.connect([arrival("a"), arrival("b", is_in=True)]) == [None, None]


async def test_an_end_is_recorded_once_with_code_reason_and_duration(connections: ConnectionStore) -> None:
    await connections.connect([arrival("a")])
    for _ in range(2):
        await connections.disconnect([departure("a")])
    assert await connections.open_of("demo", "n-0") == []
    ends = [event for _, event in await connections.history("demo", None)]
    assert [event["event"] for event in ends] == ["disconnect", "connect"]
    end = ends[0]
    assert (end["connection_id"], end["code"], end["reason"]) == ("a", 1000, "bye")
    assert end["duration_seconds"] == 2.5


async def test_a_broken_record_is_found_by_its_id_so_that_it_can_be_removed(
    connections: ConnectionStore, store: Store
) -> None:
    await store.call("HSET", names.open_connections("demo"), "n-0/broken", b"{")
    [found] = await connections.open_of("demo", "n-0")
    assert (found.connection_id, found.user_id) == ("broken", None)


def test_history_keeps_the_beginning_of_a_long_user_id() -> None:
    assert kept_user("u" * 6_000) == "u" * KEPT_CHARACTERS
    assert kept_user(None) is None

"""What the notifier's store of publications makes of what Redis answers: checkpoints, tables, refusals.

Redis is in memory here; `test_publish_script` runs the scripts on a real one.
"""

from __future__ import annotations

import pytest

from gateway.broker import Broker
from notifier.feed.publication_store import Chunk, Diverged, PublicationStore
from realtime.redis.client import Store
from realtime.redis.history import History
from realtime.settings.config import Settings

ORDERS, USERS = "table:public.orders", "table:public.users"
HISTORY = History(100, 60)


@pytest.fixture
def publications(store: Store) -> PublicationStore:
    return PublicationStore(store)


@pytest.fixture
def broker(store: Store) -> Broker:
    return Broker(store, Settings())


def chunk(topic: str, *ids: int, after: str = "") -> Chunk:
    return Chunk(topic, after, list(ids), [str(change_id) for change_id in ids])


async def test_chunks_that_do_not_continue_their_topics_are_named_and_the_others_are_taken(
    publications: PublicationStore,
) -> None:
    await publications.publish("demo", "b1", [chunk(ORDERS, 1)], HISTORY)
    with pytest.raises(Diverged) as diverged:
        await publications.publish("demo", "b3", [chunk(ORDERS, 9, after="b2:5"), chunk(USERS, 8)], HISTORY)
    assert diverged.value.checkpoints == {ORDERS: "b1:1"}
    assert await publications.checkpoints("demo", [ORDERS, USERS]) == {ORDERS: "b1:1", USERS: "b3:8"}


async def test_a_topic_that_began_anew_continues_at_its_new_mark(
    publications: PublicationStore, broker: Broker
) -> None:
    await publications.publish("demo", "b1", [chunk(ORDERS, 1)], HISTORY)
    before = await broker.position("demo", ORDERS)
    await publications.reset("demo", {ORDERS: ("b1:1", "b2:7"), USERS: ("b1:1", "b2:7")})
    assert await publications.checkpoints("demo", [ORDERS, USERS]) == {ORDERS: "b2:7", USERS: ""}
    assert await publications.publish("demo", "b3", [chunk(ORDERS, 8, after="b2:7")], HISTORY) == 1
    after = await broker.position("demo", ORDERS)
    assert (after.epoch != before.epoch, after.offset) == (True, 1)


async def test_tables_are_remembered_by_project(publications: PublicationStore) -> None:
    await publications.note_tables("demo", [ORDERS])
    await publications.note_tables("demo", [ORDERS, USERS])
    assert await publications.noted_tables("demo") == {ORDERS, USERS}
    assert await publications.noted_tables("other") == set()

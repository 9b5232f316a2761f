"""What the notifier makes of what Redis answers: checkpoints. Of its scripts: test_publish_script."""

from __future__ import annotations

import pytest

from notifier.feed.publication_store import Chunk, Diverged, PublicationStore
from realtime import names
from realtime.redis.client import Store
from realtime.redis.history import History

ORDERS, USERS = "table:public.orders", "table:public.users"
HISTORY = History(100, 60)


@pytest.fixture
def publications(store: Store) -> PublicationStore:
    return PublicationStore(store)


def chunk(topic: str, *ids: int, after: str = "") -> Chunk:
    return Chunk(topic, after, list(ids), [str(change_id) for change_id in ids])


async def test_topics_that_changes_do_not_continue_are_named_and_the_others_take_theirs(
    publications: PublicationStore,
) -> None:
    await publications.publish("demo", "b1", [chunk(ORDERS, 1)], HISTORY)
    chunks = [chunk(ORDERS, 9, after="b2:5"), chunk(USERS, 8)]
    with pytest.raises(Diverged) as diverged:
        await publications.publish("demo", "b3", chunks, HISTORY)
    assert diverged.value.checkpoints == {ORDERS: "b1:1"}
    assert await publications.checkpoints("demo", [ORDERS, USERS]) == {ORDERS: "b1:1", USERS: "b3:8"}


async def test_a_topic_that_begins_anew_continues_at_its_new_checkpoint(
    publications: PublicationStore, store: Store
) -> None:
    await publications.publish("demo", "b1", [chunk(ORDERS, 1)], HISTORY)
    before = await store.call("HGET", names.topic_meta("demo", ORDERS), "epoch")
    await publications.reset("demo", {ORDERS: ("b1:1", "b2:7"), USERS: ("b1:1", "b2:7")})
    assert await publications.checkpoints("demo", [ORDERS, USERS]) == {ORDERS: "b2:7", USERS: ""}
    assert await publications.publish("demo", "b3", [chunk(ORDERS, 8, after="b2:7")], HISTORY) == 1
    epoch, offset = await store.call("HMGET", names.topic_meta("demo", ORDERS), "epoch", "offset")
    assert (epoch != before, offset) == (True, b"1")


async def test_tables_are_remembered_by_project(publications: PublicationStore) -> None:
    await publications.note_tables("demo", [ORDERS])
    await publications.note_tables("demo", [ORDERS, USERS])
    assert await publications.noted_tables("demo") == {ORDERS, USERS}
    assert await publications.noted_tables("other") == set()

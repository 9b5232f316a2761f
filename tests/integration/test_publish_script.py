"""The script that publishes, on a real Valkey: what it numbers, takes only once, keeps and throws away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from realtime import keys
from realtime.broker import Broker, Chunk, connect
from realtime.config import Settings
from realtime.publications import Position, read_publication
from tests.gateway_fixture import eventually

TOPIC = "table:public.orders"


def chunk(*ids: int, topic: str = TOPIC, size: int = 0) -> Chunk:
    """Changes whose lines are their ids, `size` bytes long at least."""
    return Chunk(topic, list(ids), [str(change_id).rjust(size) for change_id in ids])


def broker_of(client: object, **settings: float) -> Broker:
    return Broker(client, Settings(**settings))  # type: ignore[arg-type]


@pytest_asyncio.fixture
async def broker(redis_url: str) -> AsyncIterator[Broker]:
    async with connect(redis_url) as client:
        yield broker_of(client)


async def kept(broker: Broker, since: int = 0, topic: str = TOPIC) -> list[bytes] | None:
    """The lines that history has after an offset; None where it does not reach."""
    now = await broker.position("demo", topic)
    missed = await broker.missed("demo", topic, Position(now.epoch, since), now)
    return None if missed is None else [line.strip() for one in missed for line in one.lines]


async def test_changes_are_numbered_from_one_on(broker: Broker) -> None:
    assert await broker.publish_changes("demo", 1, [chunk(7, 9)]) == 2
    assert await broker.publish_changes("demo", 2, [chunk(8)]) == 1
    assert (await broker.position("demo", TOPIC)).offset == 3
    assert await kept(broker) == [b"7", b"9", b"8"]
    assert await kept(broker, since=1) == [b"9", b"8"]


async def test_a_subscriber_hears_what_history_keeps(broker: Broker) -> None:
    async with broker.client.pubsub() as subscription:
        await subscription.subscribe(keys.topic_channel("demo", TOPIC))
        await subscription.get_message(timeout=5)
        await broker.publish_changes("demo", 1, [chunk(1, 2)])
        message = await subscription.get_message(timeout=5)
    publication = read_publication(message["data"])
    assert (publication.first, publication.lines) == (1, [b"1", b"2"])
    assert publication.epoch == (await broker.position("demo", TOPIC)).epoch


@pytest.mark.parametrize("cut", range(1, 5))
async def test_a_batch_that_comes_again_cut_elsewhere_is_taken_once(broker: Broker, cut: int) -> None:
    ids = [11, 12, 13, 14, 15]
    assert await broker.publish_changes("demo", 1, [chunk(*ids[:cut])]) == cut
    assert await broker.publish_changes("demo", 1, [chunk(*ids[:3])]) == max(0, 3 - cut)
    assert await broker.publish_changes("demo", 1, [chunk(*ids[3:])]) == min(2, 5 - cut)
    assert await broker.publish_changes("demo", 1, [chunk(*ids)]) == 0
    assert await kept(broker) == [str(change_id).encode() for change_id in ids]


async def test_an_id_below_the_last_one_is_new_in_the_next_batch(broker: Broker) -> None:
    await broker.publish_changes("demo", 1, [chunk(100)])
    assert await broker.publish_changes("demo", 2, [chunk(5)]) == 1
    assert await broker.publish_changes("demo", 1, [chunk(100)]) == 0
    assert await kept(broker) == [b"100", b"5"]


async def test_each_topic_remembers_for_itself(broker: Broker) -> None:
    await broker.publish_changes("demo", 1, [chunk(1, 3), chunk(2, topic="table:public.users")])
    await broker.publish_changes("demo", 1, [chunk(1, 3), chunk(2, 4, topic="table:public.users")])
    assert await kept(broker) == [b"1", b"3"]
    assert await kept(broker, topic="table:public.users") == [b"2", b"4"]


async def test_history_keeps_the_number_of_entries_that_was_set(redis_url: str) -> None:
    async with connect(redis_url) as client:
        broker = broker_of(client, history_entries=3)
        for number in range(1, 8):
            await broker.publish_changes("demo", number, [chunk(number)])
        assert await client.xlen(keys.topic_history("demo", TOPIC)) == 3
        assert await kept(broker, since=4) == [b"5", b"6", b"7"]
        assert await kept(broker, since=3) is None
        assert (await broker.position("demo", TOPIC)).offset == 7


async def test_one_publication_of_more_than_history_may_hold_is_kept_whole(redis_url: str) -> None:
    async with connect(redis_url) as client:
        broker = broker_of(client, history_entries=3)
        await broker.publish_changes("demo", 1, [chunk(1)])
        await broker.publish_changes("demo", 2, [chunk(2, 3, 4, 5)])
        assert await kept(broker, since=1) == [b"2", b"3", b"4", b"5"]


async def test_history_is_bounded_in_bytes(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.broker.HISTORY_BYTES", 10_000)
    for number in range(1, 11):
        await broker.publish_changes("demo", number, [chunk(number, size=3_000)])
    assert await broker.client.xlen(keys.topic_history("demo", TOPIC)) == 3
    assert await kept(broker, since=7) == [b"8", b"9", b"10"]


async def test_bytes_are_counted_rightly_after_many_trims(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.broker.HISTORY_BYTES", 5_000)
    for number in range(1, 60):
        await broker.publish_changes("demo", number, [chunk(number, size=number * 37 % 1_900)])
    counted = await broker.client.hget(keys.topic_meta("demo", TOPIC), "bytes")  # type: ignore[misc]
    entries = await broker.client.xrange(keys.topic_history("demo", TOPIC))
    assert int(counted) == sum(len(fields[b"p"]) for _, fields in entries) <= 5_000


async def test_old_entries_go_when_a_new_one_comes(redis_url: str) -> None:
    async with connect(redis_url) as client:
        patient, hasty = broker_of(client), broker_of(client, history_seconds=0.05)
        await patient.publish_changes("demo", 1, [chunk(1)])
        before = await client.time()

        async def later() -> bool:
            seconds, micros = await client.time()
            return (seconds - before[0]) + (micros - before[1]) / 1e6 > 0.1

        await eventually(later)
        await hasty.publish_changes("demo", 2, [chunk(2)])
        assert await kept(patient, since=1) == [b"2"]
        assert await kept(patient, since=0) is None


async def test_history_of_a_quiet_topic_ends_and_its_position_stays(redis_url: str) -> None:
    async with connect(redis_url) as client:
        broker = broker_of(client, history_seconds=0.05)
        await broker.publish_changes("demo", 1, [chunk(1)])
        position = await broker.position("demo", TOPIC)

        async def gone() -> bool:
            return not await client.exists(keys.topic_history("demo", TOPIC))

        await eventually(gone)
        assert await broker.position("demo", TOPIC) == position
        assert await kept(broker) is None
        await broker.publish_changes("demo", 2, [chunk(2)])
        assert await kept(broker, since=1) == [b"2"]


async def test_the_epoch_that_a_subscriber_was_told_is_that_of_the_first_change(broker: Broker) -> None:
    told = await broker.position("demo", TOPIC)
    assert told.offset == 0
    assert await broker.client.pttl(keys.topic_meta("demo", TOPIC)) > 0
    await broker.publish_changes("demo", 1, [chunk(1)])
    assert await broker.position("demo", TOPIC) == Position(told.epoch, 1)
    assert await broker.client.pttl(keys.topic_meta("demo", TOPIC)) == -1


async def test_a_topic_that_redis_lost_begins_a_new_epoch(broker: Broker) -> None:
    await broker.publish_changes("demo", 1, [chunk(1)])
    lost = await broker.position("demo", TOPIC)
    await broker.client.delete(keys.topic_meta("demo", TOPIC))
    await broker.publish_changes("demo", 2, [chunk(2)])
    now = await broker.position("demo", TOPIC)
    assert now.epoch != lost.epoch
    assert await kept(broker) == [b"2"]
    assert await broker.missed("demo", TOPIC, lost, now) is None


async def test_a_server_that_forgot_its_scripts_learns_them_again(broker: Broker) -> None:
    await broker.publish_changes("demo", 1, [chunk(1)])
    await broker.client.script_flush()
    assert await broker.publish_changes("demo", 2, [chunk(2), chunk(3, topic="table:public.users")]) == 2
    assert await kept(broker) == [b"1", b"2"]


async def test_readers_meanwhile_see_every_offset_once(broker: Broker) -> None:
    async def publish() -> None:
        for number in range(1, 301):
            await broker.publish_changes("demo", number, [chunk(2 * number, 2 * number + 1)])

    publishing = asyncio.create_task(publish())
    seen: list[bytes] = []
    while len(seen) < 600:
        seen += await kept(broker, since=len(seen)) or []
    await publishing
    assert seen == [str(number).encode() for number in range(2, 602)]

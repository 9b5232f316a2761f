"""The scripts that publish, on a real Valkey: what they number, take only once, keep and throw away.

Long by the bounds of history, and by the ways in which changes may come again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio

from gateway.broker import Broker
from notifier.feed.publication_store import Chunk, Diverged, PublicationStore
from realtime import names
from realtime.publications import Position, Publication, read_publication
from realtime.redis.client import Command, connect
from realtime.redis.history import History
from realtime.settings.config import Settings
from tests import topics
from tests.change_stream import DEADLINE
from tests.gateway_fixture import eventually

TOPIC = "table:public.orders"
HISTORY = History(10_000, 3_600)


def chunk(*ids: int, after: str = "", topic: str = TOPIC, size: int = 0) -> Chunk:
    """Changes whose lines are their ids, `size` bytes long at least."""
    return Chunk(topic, after, list(ids), [str(change_id).rjust(size) for change_id in ids])


@dataclass
class Publisher:
    """Publishes batch after batch to one topic, each continuing the last."""

    publications: PublicationStore
    history: History = HISTORY
    topic: str = TOPIC
    checkpoint: str = ""

    async def batch(self, number: int, *ids: int, size: int = 0) -> int:
        sent = chunk(*ids, after=self.checkpoint, topic=self.topic, size=size)
        new = await self.publications.publish("demo", f"b{number}", [sent], self.history)
        self.checkpoint = f"b{number}:{ids[-1]}"
        return new


@pytest_asyncio.fixture
async def broker(redis_url: str) -> AsyncIterator[Broker]:
    async with connect(redis_url) as store:
        yield Broker(store, Settings())


@pytest.fixture
def publications(broker: Broker) -> PublicationStore:
    return PublicationStore(broker.store)


@pytest.fixture
def publisher(publications: PublicationStore) -> Publisher:
    return Publisher(publications)


async def kept(broker: Broker, since: int = 0, topic: str = TOPIC) -> list[bytes] | None:
    """The lines that history has after an offset; None where it does not reach."""
    now = await broker.position("demo", topic)
    missed = await topics.missed(broker, "demo", topic, Position(now.epoch, since), now)
    return None if missed is None else [line.strip() for one in missed for line in one.lines]


async def checkpoint(publications: PublicationStore) -> str:
    return (await publications.checkpoints("demo", [TOPIC]))[TOPIC]


async def test_changes_are_numbered_from_one_on(broker: Broker, publisher: Publisher) -> None:
    assert await publisher.batch(1, 7, 9) == 2
    assert await publisher.batch(2, 8) == 1
    assert (await broker.position("demo", TOPIC)).offset == 3
    assert await kept(broker) == [b"7", b"9", b"8"]
    assert await kept(broker, since=1) == [b"9", b"8"]


async def test_a_subscriber_hears_what_history_keeps(broker: Broker, publisher: Publisher) -> None:
    channel = names.topic_channel("demo", TOPIC)
    async with broker.store.servers.of(channel).client.pubsub() as subscription:
        await subscription.ssubscribe(channel)
        await subscription.get_message(timeout=DEADLINE)
        await publisher.batch(1, 1, 2)
        message = await subscription.get_message(timeout=DEADLINE)
    publication = read_publication(message["data"])
    assert (publication.first, publication.lines) == (1, [b"1", b"2"])
    assert publication.epoch == (await broker.position("demo", TOPIC)).epoch


@pytest.mark.parametrize("cut", range(1, 5))
async def test_a_batch_that_comes_again_cut_elsewhere_is_taken_once(
    broker: Broker, cut: int, publications: PublicationStore
) -> None:
    async def send(*ids: int, after: str = "") -> int:
        return await publications.publish("demo", "b1", [chunk(*ids, after=after)], HISTORY)

    ids = [11, 12, 13, 14, 15]
    assert await send(*ids[:cut]) == cut
    assert await send(*ids[:3]) == max(0, 3 - cut)
    assert await send(*ids[3:], after="b1:13") == min(2, 5 - cut)
    assert await send(*ids) == 0
    assert await kept(broker) == [str(change_id).encode() for change_id in ids]


async def test_an_id_below_the_last_one_is_new_in_the_next_batch(
    broker: Broker, publisher: Publisher
) -> None:
    await publisher.batch(1, 100)
    assert await publisher.batch(2, 5) == 1
    assert await kept(broker) == [b"100", b"5"]


async def test_each_topic_remembers_for_itself(broker: Broker, publications: PublicationStore) -> None:
    users = "table:public.users"
    await publications.publish("demo", "b1", [chunk(1, 3), chunk(2, topic=users)], HISTORY)
    await publications.publish("demo", "b1", [chunk(1, 3), chunk(2, 4, topic=users)], HISTORY)
    assert await kept(broker) == [b"1", b"3"]
    assert await kept(broker, topic=users) == [b"2", b"4"]
    assert await publications.checkpoints("demo", [TOPIC, users, "table:public.none"]) == {
        TOPIC: "b1:3",
        users: "b1:4",
        "table:public.none": "",
    }


@pytest.mark.parametrize(
    ("after", "token"),
    [
        pytest.param("b1:7", "c2", id="redis has a later batch"),
        pytest.param("b3:9", "b4", id="redis has an earlier batch"),
        pytest.param("", "b1", id="redis has another beginning"),
        pytest.param("b2:9", "b3", id="redis has less of the batch before"),
        pytest.param("b2:9", "b2", id="redis has less of this batch"),
    ],
)
async def test_changes_that_do_not_continue_what_redis_has_are_refused_and_change_nothing(
    broker: Broker, publisher: Publisher, after: str, token: str, publications: PublicationStore
) -> None:
    await publisher.batch(1, 7)
    await publisher.batch(2, 8)
    users = "table:public.users"
    with pytest.raises(Diverged) as refusal:
        await publications.publish("demo", token, [chunk(10, after=after), chunk(11, topic=users)], HISTORY)
    assert refusal.value.checkpoints == {TOPIC: "b2:8"}
    assert (await kept(broker), await checkpoint(publications)) == ([b"7", b"8"], "b2:8")
    assert await kept(broker, topic=users) == [b"11"]


async def test_an_emptied_redis_refuses_what_continues_what_it_had(
    broker: Broker, publisher: Publisher
) -> None:
    await publisher.batch(1, 7)
    await broker.store.everywhere("FLUSHALL")
    with pytest.raises(Diverged):
        await publisher.batch(2, 8)


async def test_a_topic_begins_anew_and_subscribers_hear_of_it(
    broker: Broker, publisher: Publisher, publications: PublicationStore
) -> None:
    await publisher.batch(1, 7)
    before = await broker.position("demo", TOPIC)
    channel = names.topic_channel("demo", TOPIC)
    async with broker.store.servers.of(channel).client.pubsub() as subscription:
        await subscription.ssubscribe(channel)
        await subscription.get_message(timeout=DEADLINE)
        await publications.reset("demo", {TOPIC: ("b1:7", "b5:1")})
        message = await subscription.get_message(timeout=DEADLINE)
    now = await broker.position("demo", TOPIC)
    assert read_publication(message["data"]) == Publication(now.epoch, 1, [])
    assert now.epoch != before.epoch
    assert (now.offset, await checkpoint(publications)) == (0, "b5:1")
    assert await topics.missed(broker, "demo", TOPIC, before, now) is None
    publisher.checkpoint = "b5:1"
    await publisher.batch(6, 9)
    assert await broker.position("demo", TOPIC) == Position(now.epoch, 1)
    assert await kept(broker) == [b"9"]


async def test_a_topic_that_has_moved_meanwhile_does_not_begin_anew(
    broker: Broker, publisher: Publisher, publications: PublicationStore
) -> None:
    await publisher.batch(1, 7)
    await publisher.batch(2, 8)
    before = await broker.position("demo", TOPIC)
    await publications.reset("demo", {TOPIC: ("b1:7", "")})
    assert await broker.position("demo", TOPIC) == before
    assert await kept(broker) == [b"7", b"8"]


async def test_history_keeps_the_number_of_entries_that_was_set(broker: Broker) -> None:
    publisher = Publisher(PublicationStore(broker.store), History(3, 3_600))
    for number in range(1, 8):
        await publisher.batch(number, number)
    assert await broker.store.call("XLEN", names.topic_history("demo", TOPIC)) == 3
    assert await kept(broker, since=4) == [b"5", b"6", b"7"]
    assert await kept(broker, since=3) is None
    assert (await broker.position("demo", TOPIC)).offset == 7


async def test_one_publication_of_more_than_history_may_hold_is_kept_whole(broker: Broker) -> None:
    publisher = Publisher(PublicationStore(broker.store), History(3, 3_600))
    await publisher.batch(1, 1)
    await publisher.batch(2, 2, 3, 4, 5)
    assert await kept(broker, since=1) == [b"2", b"3", b"4", b"5"]


async def test_history_is_bounded_in_bytes(broker: Broker) -> None:
    publisher = Publisher(PublicationStore(broker.store), replace(HISTORY, max_bytes=10_000))
    for number in range(1, 11):
        await publisher.batch(number, number, size=3_000)
    assert await broker.store.call("XLEN", names.topic_history("demo", TOPIC)) == 3
    assert await kept(broker, since=7) == [b"8", b"9", b"10"]


async def test_bytes_are_counted_rightly_after_many_trims(broker: Broker) -> None:
    publisher = Publisher(PublicationStore(broker.store), replace(HISTORY, max_bytes=5_000))
    for number in range(1, 60):
        await publisher.batch(number, number, size=number * 37 % 1_900)
    counted = await broker.store.call("HGET", names.topic_meta("demo", TOPIC), "bytes")
    entries = await broker.store.call("XRANGE", names.topic_history("demo", TOPIC), "-", "+")
    assert int(counted) == sum(len(fields[b"p"]) for _, fields in entries) <= 5_000


async def time_of(broker: Broker) -> tuple[int, int]:
    """The clock of the topic's server."""
    ((seconds, micros),) = await broker.store.call_many([Command(names.topic_meta("demo", TOPIC), ("TIME",))])
    return seconds, micros


async def test_old_entries_go_when_a_new_one_comes(broker: Broker, publisher: Publisher) -> None:
    await publisher.batch(1, 1)
    before = await time_of(broker)

    async def later() -> bool:
        seconds, micros = await time_of(broker)
        return (seconds - before[0]) + (micros - before[1]) / 1e6 > 1.1

    await eventually(later)
    publisher.history = History(10_000, 1)
    await publisher.batch(2, 2)
    assert await kept(broker, since=1) == [b"2"]
    assert await kept(broker, since=0) is None


async def test_history_of_a_quiet_topic_ends_and_its_position_stays(broker: Broker) -> None:
    publisher = Publisher(PublicationStore(broker.store), History(10_000, 0.05))
    await publisher.batch(1, 1)
    position = await broker.position("demo", TOPIC)

    async def gone() -> bool:
        return not await broker.store.call("EXISTS", names.topic_history("demo", TOPIC))

    await eventually(gone)
    assert await broker.position("demo", TOPIC) == position
    assert await kept(broker) is None
    publisher.history = HISTORY
    await publisher.batch(2, 2)
    assert await kept(broker, since=1) == [b"2"]


async def test_the_epoch_that_a_subscriber_was_told_is_that_of_the_first_change(
    broker: Broker, publisher: Publisher
) -> None:
    told = await broker.position("demo", TOPIC)
    assert told.offset == 0
    assert await broker.store.call("PTTL", names.topic_meta("demo", TOPIC)) > 0
    await publisher.batch(1, 1)
    assert await broker.position("demo", TOPIC) == Position(told.epoch, 1)
    assert await broker.store.call("PTTL", names.topic_meta("demo", TOPIC)) == -1


async def test_a_server_that_forgot_its_scripts_learns_them_again(
    broker: Broker, publisher: Publisher
) -> None:
    await publisher.batch(1, 1)
    await broker.store.everywhere("SCRIPT FLUSH")
    assert await publisher.batch(2, 2) == 1
    assert await kept(broker) == [b"1", b"2"]


async def test_readers_meanwhile_see_every_offset_once(broker: Broker, publisher: Publisher) -> None:
    async def publish() -> None:
        for number in range(1, 301):
            await publisher.batch(number, 2 * number, 2 * number + 1)

    publishing = asyncio.create_task(publish())
    seen: list[bytes] = []
    while len(seen) < 600:
        seen += await kept(broker, since=len(seen)) or []
    await publishing
    assert seen == [str(number).encode() for number in range(2, 602)]


async def commands_run(broker: Broker) -> dict[str, int]:
    """How often each command has run, also in scripts."""
    ran: dict[str, int] = {}
    for found in (await broker.store.everywhere("INFO", "commandstats")).values():
        for name, facts in found.items():
            command = name.removeprefix("cmdstat_")
            ran[command] = ran.get(command, 0) + int(facts["calls"])
    return ran


BESIDE_IT = {"info", "cluster|slots", "cluster|info"}  # the count itself, and who looks for servers
OF_A_PUBLICATION = {"evalsha": 1, "hmget": 1, "time": 1, "xadd": 1, "pexpire": 1, "hset": 1, "spublish": 1}


@pytest.mark.parametrize(
    ("most", "reads"), [(10_000, {}), (2, {"xrange": 1})], ids=["nothing to trim", "one to trim"]
)
async def test_a_lone_change_runs_few_commands(broker: Broker, most: int, reads: dict[str, int]) -> None:
    publisher = Publisher(PublicationStore(broker.store), History(most, 3_600))
    await publisher.batch(1, 1)
    await publisher.batch(2, 2)
    before = await commands_run(broker)
    await publisher.batch(3, 3)
    after = await commands_run(broker)
    ran = {command: count - before.get(command, 0) for command, count in after.items()}
    data = {name: count for name, count in ran.items() if count and name not in BESIDE_IT}
    assert data == {**OF_A_PUBLICATION, **reads}

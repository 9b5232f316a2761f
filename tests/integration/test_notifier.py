"""The notifier on real servers, in this process: history shows every committed change once, in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from notifier.feed.bounds import DEFAULT_BOUNDS, FeedBounds
from notifier.feed.feed_settings import FeedSettings
from notifier.feed.publication_store import Chunk, PublicationStore
from notifier.project import ProjectFeed, State
from notifier.projects import why_not_ready
from realtime import names
from realtime.errors import Unavailable
from realtime.publications import Position
from realtime.redis.history import History
from realtime.settings.config import Settings
from tests import topics
from tests.change_stream import background
from tests.gateway_fixture import eventually
from tests.notifier_fixture import (
    HOUR,
    LISTENING,
    ORDERS,
    PROJECT,
    Witness,
    asleep,
    enable,
    insert,
    notifier,
    project_at,
    session,
    settings_at,
    witness,
)
from tests.ports import free_port

NOBODY_URL = "postgresql://nobody@127.0.0.1:{port}/nothing"


@pytest_asyncio.fixture
async def settings(orders_url: str, redis_url: str) -> Settings:
    return settings_at(redis_url, demo=project_at(orders_url))


def feed_of(
    settings: Settings, publications: PublicationStore, bounds: FeedBounds = DEFAULT_BOUNDS
) -> ProjectFeed:
    """A feed that nobody elects, and that is rung or sleeps for an hour."""
    of_demo = replace(FeedSettings.of(settings, PROJECT), poll_seconds=HOUR)
    return ProjectFeed(of_demo, publications, bounds=bounds)


async def test_every_change_of_every_row_arrives_once_and_in_its_order(
    settings: Settings, seen: Witness, orders_url: str
) -> None:
    """Writers fight over few rows: each change must begin with what the one before it left."""
    dice = random.Random(7)

    async def fight() -> int:
        changed = 0
        async with session(orders_url) as connection:
            for _ in range(60):
                tag = connection.execute(
                    "insert into orders values ($1, $2) on conflict (id) do update set note = excluded.note"
                    if dice.random() < 0.8
                    else "delete from orders where id = $1 and note <> $2",
                    dice.randint(1, 5),
                    str(dice.random()),
                )
                changed += int((await tag).split()[-1])
        return changed

    async with notifier(settings):
        changed = sum(await asyncio.gather(*[fight() for _ in range(8)]))
        await seen.sees(changed)
        rows: dict[int, Any] = {}
        for change in await seen.changes():
            row_id = change["data"]["id"]
            if change["event"] == "UPDATE":
                assert change["old"] == rows[row_id]
            elif change["event"] == "DELETE":
                assert change["data"] == rows[row_id]
            else:
                assert rows.get(row_id) is None
            rows[row_id] = None if change["event"] == "DELETE" else change["data"]
        assert await seen.offset() == changed
    async with session(orders_url) as connection:
        left = {row["id"]: dict(row) for row in await connection.fetch("select * from orders")}
    assert left == {row_id: row for row_id, row in rows.items() if row is not None}


async def test_all_tables_may_be_published_for_replication(
    settings: Settings, seen: Witness, writer: Any
) -> None:
    await writer.execute("create publication everything for all tables")
    async with notifier(settings):
        for row_id in (1, 2):  # the second one's batch moves the row of the feed
            await insert(writer, row_id)
            await seen.sees(row_id)
    await writer.execute("delete from realtime.mark")
    await writer.execute("delete from realtime.outbox")


async def test_a_hundred_thousand_rows_of_one_statement_arrive_complete_and_in_order(
    settings: Settings, seen: Witness, writer: Any
) -> None:
    async with notifier(settings):
        await asleep(writer)
        await writer.execute("insert into orders select generate_series(1, 100000), 'note'")
        await seen.sees(100_000, deadline=60)
        assert await seen.ids() == list(range(1, 100_001))


class Killed(BaseException):
    """The end of the process, which is no fault of one project."""


class Dies(PublicationStore):
    """Ends the process, as far as the notifier can see, in the middle of a batch."""

    calls = 0

    async def publish(self, project: str, token: str, chunks: Sequence[Chunk], history: History) -> int:
        self.calls += 1
        if self.calls == 3:
            raise Killed
        return await super().publish(project, token, chunks, history)


async def test_a_batch_that_was_published_in_part_is_finished_by_the_next_notifier(
    settings: Settings, seen: Witness, writer: Any
) -> None:
    await writer.execute("insert into orders select generate_series(1, 12000), 'note'")
    feed = feed_of(settings, Dies(seen.broker.store))
    with pytest.raises(Killed):
        await feed.run()
    assert await seen.offset() == 10_000
    await insert(writer, 12_001)
    following = feed_of(settings, seen.publications, FeedBounds(chunk_changes=3_333))
    async with background(asyncio.create_task(following.run(), name="following")):
        await seen.sees(12_001)
        assert await seen.ids() == list(range(1, 12_002))


class LosesAnswers(PublicationStore):
    """Redis does what it is told, and every other answer is lost on its way."""

    calls = 0

    async def publish(self, project: str, token: str, chunks: Sequence[Chunk], history: History) -> int:
        taken = await super().publish(project, token, chunks, history)
        self.calls += 1
        if self.calls % 2:
            raise Unavailable("the answer is lost")
        return taken


async def test_what_redis_took_without_an_answer_is_not_taken_twice(
    settings: Settings, seen: Witness, writer: Any
) -> None:
    feed = feed_of(settings, LosesAnswers(seen.broker.store))
    task = asyncio.create_task(feed.run())
    await insert(writer, 1, 2, 3)
    await seen.sees(3)
    await insert(writer, 4)
    await seen.sees(4)
    assert await seen.ids() == [1, 2, 3, 4]
    task.cancel()
    await asyncio.wait([task])


async def test_a_project_whose_database_is_down_does_not_touch_the_other(
    orders_url: str, redis_url: str, writer: Any
) -> None:
    """Wait until the changes of the other are published, before and after its notifier has slept."""
    nobody = project_at(NOBODY_URL.format(port=free_port()))
    settings = settings_at(redis_url, broken=nobody, demo=project_at(orders_url))
    async with notifier(settings), witness(settings) as seen:
        await insert(writer, 1)
        await seen.sees(1)
        await asleep(writer)
        await insert(writer, 2)
        await seen.sees(2)


@pytest.mark.parametrize("which", ["reads", "listens"])
async def test_a_session_that_was_ended_is_replaced_and_nothing_is_lost(
    settings: Settings, seen: Witness, writer: Any, which: str
) -> None:
    leads = "exists (select from pg_locks where pid = s.pid and locktype = 'advisory')"
    async with notifier(settings):
        await insert(writer, 1)
        await seen.sees(1)
        await asleep(writer)
        before = await writer.fetch(LISTENING)
        await writer.execute(
            f"select pg_terminate_backend(pid) from ({LISTENING}) as s"
            f" where {leads if which == 'reads' else f'not {leads}'}"
        )

        async def replaced() -> bool:
            now = await writer.fetch(LISTENING)
            return len(now) == 2 and not {row["pid"] for row in now} & {row["pid"] for row in before}

        await eventually(replaced)
        await insert(writer, 2)
        await seen.sees(2)
        assert await seen.ids() == [1, 2]


async def test_a_second_notifier_stands_by_and_takes_over(
    settings: Settings, seen: Witness, writer: Any
) -> None:
    standby = feed_of(settings, seen.publications)
    async with notifier(settings):
        await asleep(writer)
        task = asyncio.create_task(standby.run())
        await eventually(lambda: standby.state is State.STANDBY)
        await insert(writer, 1)
        await seen.sees(1)
        assert standby.state is State.STANDBY
        assert standby.why_not_ready is None
        assert not standby.leads
    await eventually(lambda: standby.state is State.LIVE)
    await insert(writer, 2)
    await seen.sees(2)
    assert await seen.ids() == [1, 2]
    task.cancel()
    await asyncio.wait([task])


async def test_a_notifier_waits_for_the_schema(database_url: str, redis_url: str) -> None:
    settings = settings_at(redis_url, demo=project_at(database_url))
    async with witness(settings) as seen:
        feed = feed_of(settings, seen.publications)
        assert why_not_ready([feed]) == "demo: connecting"
        task = asyncio.create_task(feed.run())
        await eventually(lambda: feed.state is State.NO_SCHEMA)
        assert why_not_ready([feed]) is None
        await enable(database_url)
        async with session(database_url) as writer:
            await insert(writer, 1)
            await seen.sees(1)
        assert feed.state is State.LIVE
        task.cancel()
        await asyncio.wait([task])


async def test_without_a_doorbell_changes_come_by_polling(
    orders_url: str, redis_url: str, writer: Any
) -> None:
    """Wait until each change is published."""
    settings = settings_at(redis_url, demo=project_at(orders_url, doorbell="off"))
    async with notifier(settings), witness(settings) as seen:
        for row_id in (1, 2, 3):
            await insert(writer, row_id)
            await seen.sees(row_id)


async def test_what_was_published_leaves_the_database(settings: Settings, seen: Witness, writer: Any) -> None:
    async with notifier(settings):
        await insert(writer, 1, 2)
        await seen.sees(2)

        async def tidy() -> bool:
            return not await writer.fetchval("select exists (select from realtime.outbox)")

        await eventually(tidy)
        report = await seen.broker.read_report(names.notifier(PROJECT))
        assert report is not None
        assert report["state"] == "live"
    assert await seen.ids(ORDERS) == [1, 2]


async def test_a_project_keeps_as_much_of_its_tables_as_it_says(
    orders_url: str, redis_url: str, writer: Any
) -> None:
    settings = settings_at(redis_url, demo=project_at(orders_url, history_entries=3))
    async with notifier(settings), witness(settings) as seen:
        for row_id in range(1, 8):
            await insert(writer, row_id)
            await seen.sees(row_id)
        now = await seen.broker.position(PROJECT, ORDERS.topic)
        assert (
            await topics.missed(seen.broker, PROJECT, ORDERS.topic, Position(now.epoch, 4), now) is not None
        )
        assert await topics.missed(seen.broker, PROJECT, ORDERS.topic, Position(now.epoch, 3), now) is None

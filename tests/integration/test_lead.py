"""Who may take the lead, and when it is free again, by the feed's row in a real database."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from notifier.leadership.candidacy import Candidacy
from notifier.leadership.leader import leading
from notifier.project import Dismissed
from notifier.sessions import application_name, connect, query
from realtime import names
from realtime.postgres.migrations import migrate
from tests.change_stream import DEADLINE, background
from tests.gateway_fixture import eventually
from tests.notifier_fixture import PROJECT, lead, session

WHO = "select leader_pid from realtime.feed"


def nothing() -> None:
    pass


async def who_leads(connection: Any) -> int | None:
    (row,) = await connection.fetch(query("who_leads"), names.LEADER_LOCK)
    pid: int | None = row["pid"]
    return pid


async def test_of_many_that_try_at_once_one_leads_and_then_the_next(orders_url: str, writer: Any) -> None:
    leaders: list[int] = []
    at_once: list[int] = []
    ends = [asyncio.Event() for _ in range(5)]

    async def run(number: int) -> None:
        async with leading(PROJECT, orders_url, Candidacy(), nothing, nothing) as won:
            at_once.append(await won.session.fetchval("select pg_backend_pid()"))
            leaders.append(number)
            await ends[number].wait()
            at_once.pop()

    async with asyncio.TaskGroup() as tasks:
        for number in range(len(ends)):
            tasks.create_task(run(number), name=f"candidate {number}")
        for count in range(1, len(ends) + 1):
            await eventually(lambda count=count: len(leaders) == count)
            assert at_once == [await who_leads(writer)] == [await writer.fetchval(WHO)]
            ends[leaders[-1]].set()
    assert sorted(leaders) == list(range(len(ends)))


@pytest.mark.parametrize("how", ["ended", "terminated", "given back to a pooler"])
async def test_the_lead_ends_with_its_session(orders_url: str, writer: Any, how: str) -> None:
    async with session(orders_url) as leader:
        pid = await lead(leader)
        assert await who_leads(writer) == pid
        if how == "ended":
            await leader.close()
        elif how == "terminated":
            await writer.execute("select pg_terminate_backend($1)", pid)
        else:
            await leader.execute("discard all")

        async def is_free() -> bool:
            return await who_leads(writer) is None

        await eventually(is_free)


@pytest.mark.parametrize(
    ("leaders_name", "leads"), [(application_name(PROJECT), True), ("psql", False), ("realtime", False)]
)
async def test_an_older_notifier_leads_by_its_lock_and_whoever_else_holds_that_does_not(
    orders_url: str, writer: Any, leaders_name: str, leads: bool
) -> None:
    async with session(orders_url, application_name=leaders_name) as older:
        await older.execute("select pg_advisory_lock($1::bigint)", names.LEADER_LOCK)
        assert (await who_leads(writer) is not None) is leads


async def test_a_former_leader_finds_that_the_feed_has_moved(orders_url: str) -> None:
    """Before the next one has stored a batch of its own."""
    async with session(orders_url) as former:
        await lead(former)
        place = await former.fetchval("select ctid from realtime.feed")
        await former.execute("select pg_advisory_unlock_all()")
        async with leading(PROJECT, orders_url, Candidacy(), nothing, nothing):
            stored = "update realtime.feed set batch = batch + 1 where ctid = $1"
            assert await former.execute(stored, place) == "UPDATE 0"


async def test_who_waits_for_the_schema_is_told_and_can_be_dismissed(database_url: str) -> None:
    def dismiss() -> None:
        raise Dismissed

    candidacy = Candidacy()
    with pytest.raises(Dismissed):
        async with leading(PROJECT, database_url, candidacy, nothing, dismiss):
            pass
    assert candidacy.leads_since is None


async def test_one_that_waits_for_the_schema_leads_when_it_comes(database_url: str) -> None:
    candidacy, won = Candidacy(), asyncio.Event()

    async def run() -> None:
        async with leading(PROJECT, database_url, candidacy, nothing, nothing):
            won.set()
            await asyncio.Event().wait()

    async with background(asyncio.create_task(run(), name="candidate")):
        await eventually(lambda: candidacy.awaits_schema)
        connection = await connect(database_url)
        with pytest.raises(asyncpg.UndefinedTableError):
            await who_leads(connection)
        await migrate(connection)
        await asyncio.wait_for(won.wait(), DEADLINE)
        assert not candidacy.awaits_schema
        connection.terminate()

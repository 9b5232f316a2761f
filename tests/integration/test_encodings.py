"""Databases whose encoding is not UTF8: what can be told is told, and no row stops a feed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from realtime.channels import Event, Table
from realtime.errors import ClientError, Code
from realtime.postgres.catalogue import Catalogue
from realtime.postgres.pool import Database
from realtime.settings.config import Settings
from tests.clean_log import logged
from tests.expressions import value
from tests.gateway_fixture import eventually, running_gateway, settings_for, token_for
from tests.notifier_fixture import (
    PROJECT,
    Witness,
    enable,
    insert,
    notifier,
    project_at,
    publisher_of,
    session,
    settings_at,
    witness,
)
from tests.servers import fresh_database

LEFT_OUT = "realtime_notifier_left_out_changes_total"

# By encoding of the database: a literal that is told, as what; and one that no client can be told.
TEXTS = {
    "SQL_ASCII": (r"E'M\303\274nchen'", "München", r"E'\377'"),
    "WIN1252": (r"E'\200 5'", "€ 5", r"E'\201'"),
    "LATIN1": (r"E'M\374nchen'", "München", None),
    "EUC_JP": (r"E'\244\242'", "あ", None),
}
UNREADABLE = {encoding: bad for encoding, (_, _, bad) in TEXTS.items() if bad}


@dataclass
class Stage:
    """A project whose database has another encoding, and one beside it."""

    url: str
    settings: Settings
    writer: Any
    seen: Witness
    left_out_before: float

    @property
    def left_out(self) -> float:
        return value(LEFT_OUT, project=PROJECT) - self.left_out_before


@pytest.fixture
async def stage(
    request: pytest.FixtureRequest, postgres_url: str, other_url: str, redis_url: str
) -> AsyncIterator[Stage]:
    async with fresh_database(postgres_url, request.param) as url:
        await enable(url)
        settings = settings_at(redis_url, demo=project_at(url), other=project_at(other_url))
        async with session(url) as writer, witness(settings) as seen:
            yield Stage(url, settings, writer, seen, value(LEFT_OUT, project=PROJECT))


@pytest.mark.parametrize("stage", TEXTS, indirect=True)
async def test_what_another_encoding_has_is_told_as_utf_8(stage: Stage) -> None:
    literal, text, _ = TEXTS[await stage.writer.fetchval("select getdatabaseencoding()")]
    async with notifier(stage.settings):
        await stage.writer.execute(f"insert into orders values (1, {literal})")
        await stage.seen.sees(1)
        assert [change["data"]["note"] for change in await stage.seen.changes()] == [text]
    assert stage.left_out == 0


@pytest.mark.parametrize("beside", [2, 3_000], ids=["in a small batch", "in a batch read by a cursor"])
@pytest.mark.parametrize("stage", UNREADABLE, indirect=True)
async def test_a_row_that_is_no_text_is_left_out_counted_and_logged_and_hides_no_other(
    stage: Stage, beside: int, caplog: pytest.LogCaptureFixture, other_url: str
) -> None:
    bad = UNREADABLE[await stage.writer.fetchval("select getdatabaseencoding()")]
    await stage.writer.execute(
        f"insert into orders select n, case n % {beside // 2} when 0 then {bad} else 'note' end"
        f" from generate_series(1, {beside}) as n"
    )
    async with (
        notifier(stage.settings),
        witness(stage.settings, "other") as other,
        session(other_url) as other_writer,
    ):
        await insert(other_writer, 1)
        await other.sees(1)
        await insert(stage.writer, 100_000)
        told = beside - 2 + 1 if beside > 2 else 1
        await stage.seen.sees(told)
        assert (await stage.seen.ids())[-1] == 100_000
        assert await stage.seen.offset() == told
        await stage.writer.execute("delete from orders where id = 100000")  # goes on, in this life
        await stage.seen.sees(told + 1)
    assert stage.left_out == 2
    assert sum(facts["changes_count"] for facts in logged(caplog, "changes_left_out")) == 2
    assert logged(caplog, "feed_failed") == logged(caplog, "part_failed") == []


@pytest.mark.parametrize("stage", ["SQL_ASCII"], indirect=True)
async def test_a_table_whose_name_is_no_text_is_left_out_and_hides_no_other(stage: Stage) -> None:
    await unnameable_table(stage.writer)
    async with notifier(stage.settings):
        await stage.writer.execute(r"""do $$ begin execute E'insert into "\377" values (1)'; end $$""")
        await insert(stage.writer, 2)
        await stage.seen.sees(1)
        assert await stage.seen.ids() == [2]
        await eventually(lambda: stage.left_out == 1)


@pytest.mark.parametrize("stage", ["SQL_ASCII", "WIN1252"], indirect=True)
async def test_an_outbox_with_names_that_are_no_text_is_cut_and_what_was_lost_begins_anew(
    stage: Stage,
) -> None:
    bad = UNREADABLE[await stage.writer.fetchval("select getdatabaseencoding()")]
    async with session(stage.url) as reader:
        publisher = publisher_of(stage.settings, stage.seen.publications, reader)
        await publisher.begin()
        await stage.writer.execute(
            "insert into realtime.outbox (schema_name, table_name, event, data)"
            f" values ('public', {bad}, 'INSERT', '{{}}')"
        )
        await insert(stage.writer, 1, 2)
        assert await publisher.feed.shed(1, 0) == 2
        assert set(publisher.feed.checkpoints) == {"table:public.orders"}
        assert await publisher.publish_next() == 1


async def unnameable_table(connection: Any) -> None:
    await connection.execute(
        r"""
        do $$ begin
            execute E'create table "\377" (id bigint primary key)';
            perform realtime.enable_v1(oid, '{INSERT}', null, 1000000)
            from pg_class where relname = E'\377';
        end $$
        """
    )


@asynccontextmanager
async def catalogue(url: str) -> AsyncIterator[Catalogue]:
    database = Database(project_at(url))
    try:
        yield Catalogue(database)
    finally:
        await database.close()


@pytest.mark.parametrize("stage", ["LATIN1", "WIN1252", "EUC_JP"], indirect=True)
async def test_a_name_that_the_database_cannot_have_is_that_of_no_table(stage: Stage) -> None:
    async with catalogue(stage.url) as tables:
        for name in ("ж🦀", "orders🦀"):
            with pytest.raises(ClientError) as resolved:
                await tables.resolve(name)
            assert resolved.value.code is Code.NOT_FOUND
            with pytest.raises(ClientError) as enabled:
                await tables.enable(Table("public", name), [Event.INSERT], None, 1_000)
            assert enabled.value.code is Code.NOT_FOUND


@pytest.mark.parametrize("stage", ["SQL_ASCII"], indirect=True)
async def test_names_that_are_no_text_are_told_as_such_by_rest_and_nothing_else_fails(stage: Stage) -> None:
    settings = settings_for(stage.url, stage.settings.redis_url)
    service = token_for(role="service_role")
    async with running_gateway(settings) as gateway:
        await eventually(gateway.is_ready)
        status, tables, _ = await gateway.rest("GET", "/tables", service)
        assert (status, len(tables["tables"])) == (200, 1)
        await unnameable_table(stage.writer)
        status, answer, _ = await gateway.rest("GET", "/tables", service)
        assert (status, answer["error"]["code"]) == (503, "unavailable")
        assert "UTF-8" in answer["error"]["message"]
        status, answer, _ = await gateway.rest("GET", "/status", service)
        assert (status, answer["status"]) == (200, "degraded")
        async with gateway.client() as client:
            assert (await client.subscribe("table:orders"))["enabled"] is None
            await client.subscribe("room:lobby")

"""A project's tables on a node: what `is_enabled` says when the database has no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from gateway.projects.tables import Tables
from realtime.channels import Event, Table
from realtime.errors import StatementFailed, Unavailable
from realtime.postgres.catalogue import EnabledTable
from realtime.settings.config import Project

ORDERS, USERS = Table("public", "orders"), Table("public", "users")


class Catalogue:
    """Tells of one enabled table, fails, or never answers."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.answers = asyncio.Event()

    async def enabled(self) -> list[EnabledTable]:
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        return [EnabledTable(ORDERS, (Event.INSERT,), None, 1_000)]


@pytest.fixture
async def asked() -> AsyncIterator[Any]:
    project = Project(
        database_url="postgresql://127.0.0.1/nowhere", jwt_secret="a secret of more than 32 bytes!"
    )
    asked = cast(Any, Tables(project))
    asked.catalogue = Catalogue()
    asked.catalogue.answers.set()
    yield asked
    await asked.close()


async def test_a_table_is_enabled_or_not(asked):
    assert [await asked.is_enabled(table) for table in (ORDERS, USERS)] == [True, False]


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("the project's database cannot be reached now"),
        StatementFailed("permission denied"),
    ],
)
async def test_whether_a_table_is_enabled_is_unknown_while_the_database_fails(asked, error):
    asked.catalogue.error = error
    assert await asyncio.gather(*(asked.is_enabled(ORDERS) for _ in range(3))) == [None] * 3
    asked.catalogue.error = None
    assert await asked.is_enabled(ORDERS) is True


async def test_whether_a_table_is_enabled_is_unknown_while_the_database_is_silent(asked):
    asked._enabled_seconds = 0.01
    asked.catalogue.answers.clear()
    assert await asked.is_enabled(ORDERS) is None
    asked.catalogue.answers.set()


async def test_an_error_of_our_own_is_not_hidden(asked):
    asked.catalogue.error = KeyError("max_change_bytes")
    with pytest.raises(KeyError):
        await asked.is_enabled(ORDERS)

"""The servers that all tests share, started once a run, when the first test asks for them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.servers import empty, fresh_database, throw_away_postgres, throw_away_valkey

pytest_plugins = ["tests.gateway_fixture", "tests.fleet_fixture"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The superuser's URL of a Postgres that lives as long as the tests."""
    async with throw_away_postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server.url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of a Valkey that lives as long as the tests; use `redis_url`."""
    async with throw_away_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server.url


@pytest_asyncio.fixture
async def database_url(postgres_url: str) -> AsyncIterator[str]:
    """The superuser's URL of a database that this test has for itself."""
    async with fresh_database(postgres_url) as url:
        yield url


@pytest_asyncio.fixture
async def redis_url(valkey_url: str) -> str:
    """The URL of an empty Redis."""
    await empty(valkey_url)
    return valkey_url

"""What the integration tests share: the server, a database of one's own, a table with realtime on."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.timings import Timings
from realtime.settings.config import Limits, Settings
from tests import servers
from tests.gateway_fixture import Gateway, eventually, running_gateway, settings_for
from tests.notifier_fixture import Witness, enable, session, witness
from tests.postgres_fixture import Database, fresh_database, throw_away_postgres

_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The superuser's URL of a Postgres that lives as long as the tests."""
    async with throw_away_postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest_asyncio.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    async with fresh_database(postgres_url, f"test_{next(_numbers)}") as database:
        yield database


@pytest_asyncio.fixture
async def orders_url(database_url: str) -> str:
    """A database with an enabled table `orders`."""
    await enable(database_url)
    return database_url


@pytest_asyncio.fixture
async def writer(orders_url: str) -> AsyncIterator[Any]:
    async with session(orders_url) as connection:
        yield connection


@pytest_asyncio.fixture
async def other_url(postgres_url: str) -> AsyncIterator[str]:
    """A database of a second project, with an enabled table `orders`."""
    async with servers.fresh_database(postgres_url) as url:
        await enable(url)
        yield url


@pytest_asyncio.fixture
async def seen(settings: Settings) -> AsyncIterator[Witness]:
    """What Redis has of the project of `settings`."""
    async with witness(settings) as seen:
        yield seen


@pytest_asyncio.fixture
async def channels() -> int:
    """That a connection may have: it may leave ten times as many behind."""
    return 2


@pytest_asyncio.fixture
async def fast(database_url: str, redis_url: str, channels: int, timings: Timings) -> AsyncIterator[Gateway]:
    """A gateway where clients may say as much as they like."""
    limits = Limits(messages_per_second=1e6, max_channels_per_connection=channels)
    settings = settings_for(database_url, redis_url, limits=limits)
    async with running_gateway(settings, timings=timings) as gateway:
        await eventually(gateway.is_ready)
        yield gateway

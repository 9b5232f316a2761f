"""The servers that all tests share, started once a run, when the first test asks for them.

With `--redis` it is another kind of Redis; tests that need one server of their own, or none, are skipped.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import settings

from realtime.redis.client import Store, connect
from tests.redis_servers.setups import CONTRACT, SETUPS, RedisSetup
from tests.servers import fresh_database, throw_away_postgres
from tests.workers import ALONE, Spread

pytest_plugins = [
    "tests.browser_fixture",
    "tests.gateway_fixture",
    "tests.fleet_fixture",
    "tests.redis_servers.fixtures",
]


# On a busy machine an example of Hypothesis may take any time; all else stays as CI or a person set it.
settings.register_profile("without deadline", settings.default, deadline=None)
settings.load_profile("without deadline")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--redis", choices=tuple(SETUPS), default="standalone", help="which kind of Redis")


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kind = config.getoption("--redis")
    for item in items:
        if item.path.stem in CONTRACT:
            item.add_marker(pytest.mark.contract)
        if item.path.stem in ALONE:
            item.add_marker(pytest.mark.alone)
        if kind != "standalone" and (why := _why_not_on_another(item)):
            item.add_marker(pytest.mark.skip(reason=f"{why}: not with --redis={kind}"))


@pytest.hookimpl(optionalhook=True)  # there are no workers with `-p no:xdist`
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Spread:
    config.option.loadscopereorder = False
    return Spread(config, log)


def pytest_collection_finish() -> None:
    """What lives as long as the run is not looked at again by each collection of rubbish."""
    gc.collect()
    gc.freeze()


def _why_not_on_another(item: pytest.Item) -> str | None:
    if item.get_closest_marker("standalone"):
        return "needs a Redis that is one server"
    if "redis_setup" not in getattr(item, "fixturenames", ()):
        return "uses no Redis, or one of its own"
    return None


@pytest.fixture(scope="module", autouse=True)
def _rubbish() -> Iterator[None]:
    """What a module leaves open fails this module, and not whichever test runs when it is collected."""
    yield
    gc.collect()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The superuser's URL of a Postgres that lives as long as the tests."""
    async with throw_away_postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server.url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def redis_setup(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RedisSetup]:
    """The Redis that `--redis` names, which lives as long as the tests; use `redis_url`."""
    async with SETUPS[request.config.getoption("--redis")](tmp_path_factory.mktemp("redis")) as setup:
        yield setup


@pytest_asyncio.fixture
async def database_url(postgres_url: str) -> AsyncIterator[str]:
    """The superuser's URL of a database that this test has for itself."""
    async with fresh_database(postgres_url) as url:
        yield url


@pytest_asyncio.fixture
async def redis_url(redis_setup: RedisSetup) -> str:
    """The URL of an empty Redis."""
    await redis_setup.flush()
    return redis_setup.url


@pytest_asyncio.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """That Redis as the program reaches it, for a test that looks into it or does something to it."""
    async with connect(redis_url) as store:
        yield store

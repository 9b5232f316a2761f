"""What unit tests share: a Redis that is no server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from realtime.redis.client import Store
from tests.redis_in_memory import store_in_memory


@pytest_asyncio.fixture
async def store() -> AsyncIterator[Store]:
    """An empty Redis in memory."""
    async with store_in_memory() as store:
        yield store

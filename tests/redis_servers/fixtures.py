"""A cluster and a Sentinel set-up for modules whose tests kill, freeze and replace servers.

`tests/conftest.py` names it as a plugin. All that is done to a set-up is done on one loop: a module that asks
for one runs its tests on the module's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.redis_servers.cluster import ValkeyCluster, valkey_cluster
from tests.redis_servers.sentinels import SentinelPair, sentinel_pair


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ValkeyCluster]:
    """The cluster of a module; use `cluster`."""
    async with valkey_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(module_cluster: ValkeyCluster) -> ValkeyCluster:
    """A cluster that is well and empty, whatever the test before did to it."""
    await module_cluster.heal()
    await module_cluster.flush()
    return module_cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SentinelPair]:
    """The Sentinel set-up of a module; use `pair`."""
    async with sentinel_pair(tmp_path_factory.mktemp("sentinel")) as pair:
        yield pair


@pytest_asyncio.fixture(loop_scope="module")
async def pair(module_pair: SentinelPair) -> SentinelPair:
    """Primary, replica and sentinels that are well, and empty, whatever the test before did to them."""
    await module_pair.heal()
    await module_pair.flush()
    return module_pair

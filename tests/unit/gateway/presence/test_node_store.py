"""Incarnations of nodes as Redis has them: which live, which are dead, and who cleans up."""

from __future__ import annotations

import pytest

from gateway.presence.node_store import NodeStore
from realtime import names
from realtime.redis.client import Store

REPORT = {"id": "n"}
REPLIDS = frozenset({"r"})


@pytest.fixture
def nodes(store: Store, monkeypatch: pytest.MonkeyPatch) -> NodeStore:
    """With a replid, which Redis in memory has not."""

    async def replids(_: NodeStore) -> frozenset[str]:
        return REPLIDS

    monkeypatch.setattr(NodeStore, "_replids", replids)
    return NodeStore(store)


async def test_an_incarnation_is_known_with_its_report_until_it_is_deleted(nodes: NodeStore) -> None:
    assert await nodes.begin("n-0", REPORT, 60) == REPLIDS
    assert await nodes.all() == {"n-0": REPORT}
    await nodes.delete("n-0")
    assert await nodes.all() == {}


async def test_a_renewal_takes_the_newer_report(nodes: NodeStore) -> None:
    await nodes.begin("n-0", REPORT, 60)
    assert await nodes.renew("n-0", {"id": "newer"}, 60, REPLIDS)
    assert await nodes.all() == {"n-0": {"id": "newer"}}


async def test_an_incarnation_that_expired_is_dead_and_cannot_be_renewed(
    nodes: NodeStore, store: Store
) -> None:
    await nodes.begin("n-0", REPORT, 60)
    await store.call("DEL", names.node("n-0"))
    assert not await nodes.renew("n-0", REPORT, 60, REPLIDS)
    assert await nodes.all() == {"n-0": None}


async def test_an_incarnation_is_not_renewed_under_another_replid(nodes: NodeStore) -> None:
    await nodes.begin("n-0", REPORT, 60)
    assert not await nodes.renew("n-0", REPORT, 60, frozenset({"another"}))


async def test_a_cleanup_is_claimed_by_one_node(nodes: NodeStore) -> None:
    assert await nodes.claim("n-0", 60)
    assert not await nodes.claim("n-0", 60)
    assert await nodes.claim("n-1", 60)

"""What a server of a cluster says about it, and whether several of them say the same.

Read by `cluster.py` from the servers that answer; changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from tests.redis_servers.server import RedisServer

SLOTS = 16_384


@dataclass(frozen=True)
class Node:
    """A member of the cluster, as one of them sees it."""

    id: str
    address: str
    primary: str  # the id of whom it copies; "-" for a primary
    slots: tuple[tuple[int, int], ...]  # first and last
    epoch: int
    flags: frozenset[str]
    is_connected: bool
    is_moving: bool  # a slot comes to it or goes

    @property
    def is_primary(self) -> bool:
        return "master" in self.flags

    @property
    def is_well(self) -> bool:
        return self.is_connected and not self.flags & {"fail", "fail?", "handshake", "noaddr"}

    def owns(self, slot: int) -> bool:
        return any(first <= slot <= last for first, last in self.slots)


@dataclass(frozen=True)
class View:
    """What one server says: all members by address, and how its own replication stands."""

    nodes: dict[str, Node]
    state: str
    replication: dict[str, Any]

    @property
    def layout(self) -> frozenset[tuple[str, str, tuple[tuple[int, int], ...]]]:
        """Who copies whom and who owns what: on what all must agree."""
        return frozenset((node.address, node.primary, node.slots) for node in self.nodes.values())

    @property
    def myself(self) -> Node:
        return next(node for node in self.nodes.values() if "myself" in node.flags)


async def views_of(servers: Iterable[RedisServer]) -> list[View]:
    """Ask all of them at once; whoever does not answer after all has no view."""
    answers = await asyncio.gather(*map(_view_of, servers))
    return [view for view in answers if view is not None]


def is_healthy(views: list[View], answering: set[str]) -> bool:
    """Whether those that answer agree on who does what, own every slot, and copy each other's data."""
    if {view.myself.address for view in views} != answering or len({view.layout for view in views}) != 1:
        return False
    nodes = [views[0].nodes[address] for address in answering]
    return (
        sum(last - first + 1 for node in nodes for first, last in node.slots) == SLOTS
        and all(_sees_all_well(view, answering) for view in views)
        and all(_replicates(view, nodes) for view in views)
    )


def _sees_all_well(view: View, answering: set[str]) -> bool:
    members = [view.nodes[address] for address in answering]
    return view.state == "ok" and all(node.is_well and not node.is_moving for node in members)


def _replicates(view: View, nodes: list[Node]) -> bool:
    if not view.myself.is_primary:
        return view.replication.get("master_link_status") == "up"
    replicas = sum(node.primary == view.myself.id for node in nodes)
    online = [key for key, value in view.replication.items() if key.startswith("slave") and _is_online(value)]
    return len(online) == replicas


def _is_online(replica: Any) -> bool:
    return isinstance(replica, dict) and replica.get("state") == "online"


async def _view_of(server: RedisServer) -> View | None:
    try:
        async with server.client() as client:
            nodes = await client.execute_command("CLUSTER NODES")
            info = await client.execute_command("CLUSTER INFO")
            replication = await client.info("replication")
    except RedisError:
        return None
    members = {address: _node(address, facts) for address, facts in nodes.items()}
    return View(members, info["cluster_state"], replication)


def _node(address: str, facts: dict[str, Any]) -> Node:
    return Node(
        id=facts["node_id"],
        address=address,
        primary=facts["master_id"],
        slots=tuple((int(words[0]), int(words[-1])) for words in facts["slots"]),
        epoch=int(facts["epoch"]),
        flags=frozenset(facts["flags"].split(",")),
        is_connected=facts["connected"],
        is_moving=bool(facts["migrations"]),
    )

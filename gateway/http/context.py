"""What a REST handler gets, and the row that describes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary

from gateway.broker import Broker
from gateway.http.bodies import StatusResponse
from gateway.http.presence_lists import PresenceLists
from gateway.presence.node import Node
from gateway.presence.stores import Stores
from gateway.projects.project import Tenant
from gateway.publish.publisher import BroadcastPublisher
from realtime.auth.tokens import Identity
from realtime.waiting.single_flight import SingleFlight


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers ask beside the project itself."""

    node: Node
    broker: Broker
    stores: Stores
    publisher: BroadcastPublisher
    presence_lists: PresenceLists
    recent_status: WeakKeyDictionary[Tenant, SingleFlight[StatusResponse]] = field(
        default_factory=WeakKeyDictionary
    )  # as every user may see it


@dataclass(frozen=True, slots=True)
class Call:
    """An admitted request; `query` and `body` are of the endpoint's types."""

    tenant: Tenant
    identity: Identity
    query: Any
    body: Any
    services: Services


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A row of the contract's table; `query` is the type of the parameters of the address."""

    method: Literal["GET", "POST"]
    path: str
    service_only: bool
    handler: Callable[[Call], Awaitable[Any]]
    response: type
    request: type | None = None
    query: type | None = None
    status: int = 200

"""What a REST handler receives, and the table row that describes an endpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary

from gateway.broker import Broker
from gateway.fleet.fleet import Fleet
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
    """The parts that handlers use, besides the project itself."""

    node: Node
    broker: Broker
    stores: Stores
    publisher: BroadcastPublisher
    presence_lists: PresenceLists
    fleet: Fleet
    recent_status: WeakKeyDictionary[Tenant, SingleFlight[StatusResponse]] = field(
        default_factory=WeakKeyDictionary
    )  # the status that every user may see
    recent_figures: WeakKeyDictionary[Tenant, SingleFlight[Any]] = field(
        default_factory=WeakKeyDictionary
    )  # of a project's changes, for /stats


@dataclass(frozen=True, slots=True)
class Call:
    """An admitted request; `query` and `body` have the types that the endpoint declares."""

    tenant: Tenant
    identity: Identity
    query: Any
    body: Any
    services: Services


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A row of the table of endpoints; `query` is the type of the query parameters."""

    method: Literal["GET", "POST"]
    path: str
    service_only: bool
    handler: Callable[[Call], Awaitable[Any]]
    response: type
    request: type | None = None
    query: type | None = None
    status: int = 200

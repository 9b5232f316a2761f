"""The WebSocket endpoint: from an HTTP request to a served connection.

A valid upgrade is accepted before the client may be refused, since a browser can read a close code but not an
HTTP status; any other request gets an HTTP error.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from aiohttp import WSCloseCode, hdrs, web
from structlog.contextvars import bind_contextvars, unbind_contextvars

from gateway.http.gate import Gate
from gateway.http.refusals import Surface
from gateway.http.request import (
    SUBPROTOCOL,
    Proxies,
    Tenants,
    check_origin,
    client_address,
    find_tenant,
    identify,
    no_such_project,
    websocket_token,
)
from gateway.presence.connection_store import KEPT_CHARACTERS, Open
from gateway.projects.project import Tenant
from gateway.session.session import Session, SessionRules
from gateway.websocket.closing import refuse
from gateway.websocket.connection import Connection, Serving
from gateway.websocket.connections import Connections
from gateway.websocket.turns import Turns
from gateway.websocket.upgrade import Upgrade, take_over
from gateway.websocket.web_socket import WebSocket
from realtime.auth.tokens import Identity
from realtime.clean_text import mended
from realtime.errors import CLOSE_CODE, ClientError, Code, RateLimited, Unavailable
from realtime.logs.setup import get_logger
from realtime.settings.config import Limits
from realtime.waiting.survival import Part, internal

log = get_logger(__name__)

STOP_SECONDS = 5.0  # for clients that are still served when the node stops

_part = Part("endpoint")


@dataclass(frozen=True, slots=True)
class _Client:
    """A client that is being admitted, and its record."""

    tenant: Tenant
    identity: Identity
    record: Open


class Handshake:
    """Admits clients, or refuses them."""

    def __init__(
        self,
        tenants: Tenants,
        gate: Gate,
        proxies: Proxies,
        connections: Connections,
        serving: Serving,
    ) -> None:
        self._tenants = tenants
        self._gate = gate
        self._proxies = proxies
        self._connections = connections
        self._serving = serving
        self._turns = Turns()
        self._served: set[asyncio.Task[None]] = set()  # a task for each client

    async def handle(self, request: web.Request) -> web.StreamResponse:
        upgrade = Upgrade((SUBPROTOCOL,) if hdrs.SEC_WEBSOCKET_PROTOCOL in request.headers else ())
        if not upgrade.can_prepare(request):
            await self._explain(request)
        try:
            await upgrade.prepare(request)
            take_over(request, partial(self._serve_soon, request))
        except ConnectionError:
            return web.Response()  # never sent: the client is gone
        return upgrade

    async def end(self, seconds: float = STOP_SECONDS) -> None:
        """Wait until no client is served any more, so many seconds at most, and cancel the rest."""
        if not self._served:
            return
        await asyncio.wait(list(self._served), timeout=seconds)
        for task in (rest := list(self._served)):
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def _serve_soon(self, request: web.Request, network: asyncio.Transport, early: bytes) -> WebSocket:
        """Begin to serve a client, with the ids of its request in the log; return its protocol."""
        tenant = self._tenants.get(request.match_info["project_id"])
        web_socket = WebSocket(network, early, tenant.limits if tenant else Limits(), self._turns)
        self._served.add(asyncio.create_task(self._serve(web_socket, request), name="serve a client"))
        return web_socket

    async def _serve(self, web_socket: WebSocket, request: web.Request) -> None:
        """Admit the client of an accepted upgrade and serve it to its end, or refuse it."""
        try:
            client = await self._let_in(web_socket, request)
            del request  # a client that is served does not hold it
            if client is not None:
                with self._connections.opened(*client):
                    await client[0].run()
        except Exception as error:
            _part.note(error)
        finally:
            web_socket.end()
            self._served.discard(asyncio.current_task())

    async def _let_in(self, web_socket: WebSocket, request: web.Request) -> tuple[Connection, Open] | None:
        """Return the connection of an admitted client and its record; None if it was refused or is gone."""
        try:
            tenant, identity = await self._admit(request)
            client = _Client(tenant, identity, self._record(request, identity))
            bind_contextvars(connection_id=client.record.connection_id)
            await self._connections.register(tenant, client.record)
            connection = self._connection(web_socket, client)
            return None if connection is None else (connection, client.record)
        except ClientError as error:
            await self._refuse(web_socket, request, error)
        except Exception as error:
            _part.note(error)
            await self._refuse(web_socket, request, internal())
        return None

    async def _explain(self, request: web.Request) -> NoReturn:
        """Refuse a request that is no upgrade, for the first reason that applies."""
        try:
            await self._admit(request)
            raise ClientError(Code.INVALID_REQUEST, "this is a WebSocket endpoint: send an upgrade")
        except ClientError as error:
            raise await self._gate.refused_upgrade(request, error) from None

    async def _refuse(self, web_socket: WebSocket, request: web.Request, error: ClientError) -> None:
        unbind_contextvars("connection_id")
        with _part.survives():
            error = await self._gate.refused_upgrade(request, error)
            log.debug("connection_refused", code=error.code, address=client_address(request, self._proxies))
            self._gate.note(Surface.WEBSOCKET, request, error.code)
            if (tenant := self._tenants.get(request.match_info["project_id"])) is not None:
                tenant.tally.errors += 1
        await _part.run(refuse(web_socket, self._serving.codec, error))

    async def _admit(self, request: web.Request) -> tuple[Tenant, Identity]:
        tenant = find_tenant(self._tenants, request)
        if self._connections.draining:
            raise Unavailable("this node is draining; another one will answer")
        self._gate.upgrade(request)
        check_origin(tenant.project, request)
        if not tenant.takes_one_more(time.monotonic()):
            seconds = 1 / tenant.limits.connections_per_second
            raise RateLimited("too many connections a second; try again later", seconds)
        return tenant, await identify(tenant, websocket_token(request))

    def _record(self, request: web.Request, identity: Identity) -> Open:
        agent = request.headers.get(hdrs.USER_AGENT)
        return Open(
            connection_id=secrets.token_hex(8),
            user_id=identity.user_id,
            ip=client_address(request, self._proxies),
            user_agent=agent and mended(agent, KEPT_CHARACTERS),
            node=self._connections.node.id,
            connected_at=time.time(),
        )

    def _connection(self, web_socket: WebSocket, client: _Client) -> Connection | None:
        """Return the connection of a registered client; None if the client left while it was admitted."""
        if web_socket.network.is_closing():
            self._record_end(client, WSCloseCode.ABNORMAL_CLOSURE, None)
            return None
        tenant, connection_id = client.tenant, client.record.connection_id
        if tenant.is_gone:  # removed while the client was admitted
            self._record_end(client, CLOSE_CODE[Code.NOT_FOUND], Code.NOT_FOUND)
            raise no_such_project()
        try:
            rules = SessionRules(tenant.limits, self._serving.session_timings)
            session = Session(tenant.project_id, connection_id, client.identity, rules, time.time())
            return Connection(web_socket, web_socket.network, tenant, session, self._serving)
        except Exception:
            self._record_end(client, CLOSE_CODE[Code.INTERNAL], Code.INTERNAL)
            raise

    def _record_end(self, client: _Client, code: int, reason: str | None) -> None:
        self._connections.record_end(client.tenant, client.record, code, reason)

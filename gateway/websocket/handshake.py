"""The WebSocket endpoint: from an HTTP request to a served connection.

A real upgrade is accepted before it may be refused, since a browser can read a close code but not an
HTTP status; any other request gets plain HTTP.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from functools import partial
from typing import Any, NoReturn

from aiohttp import WSCloseCode, hdrs, web
from structlog.contextvars import bound_contextvars

from gateway import metrics
from gateway.delivery.subscribe import Subscriptions
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
from gateway.presence.connection_log import ConnectionLog
from gateway.presence.node import Node
from gateway.presence.store import Open
from gateway.projects.project import Tenant
from gateway.session.session import Session
from gateway.websocket.closing import refuse
from gateway.websocket.connection import Connection
from gateway.websocket.publishing import Ways
from gateway.websocket.web_socket import WebSocket
from gateway.wire.send_queue import QueueWriter
from realtime.auth.tokens import Identity
from realtime.clean_text import mended
from realtime.errors import CLOSE_CODE, ClientError, Code, RateLimited, Unavailable
from realtime.logs.setup import get_logger
from realtime.settings.config import Limits
from realtime.waiting.survival import Part

log = get_logger(__name__)

MAX_USER_AGENT = 256  # characters of it that the connection history keeps

_part = Part("endpoint")


class Handshake:
    """Lets clients in, and knows all that are."""

    def __init__(
        self,
        tenants: Tenants,
        subscriptions: Subscriptions,
        ways: Ways,
        connection_log: ConnectionLog,
        node: Node,
        pump: QueueWriter,
        proxies: Proxies,
        gate: Gate,
        heartbeat_seconds: float,
    ) -> None:
        self._tenants = tenants
        self._subscriptions = subscriptions
        self._ways = ways
        self._connection_log = connection_log
        self._node = node
        self._pump = pump
        self._proxies = proxies
        self._gate = gate
        self._heartbeat_seconds = heartbeat_seconds
        self.connections: dict[Connection, Open] = {}  # everybody who is in
        self.draining = False  # nobody is let in any more
        self._ids: set[str] = set()  # of everybody who is in, or on the way in

    async def handle(self, request: web.Request) -> web.StreamResponse:
        web_socket = self._web_socket(request)
        if not web_socket.can_prepare(request):
            await self._explain(request)
        try:
            await web_socket.prepare(request)
        except ConnectionError:
            return web.Response()  # which nobody gets: the client is gone
        try:
            with _part.tells_client():
                await self._let_in(web_socket, request)
        except ClientError as error:
            await self._refuse(web_socket, request, error)
        return web_socket

    async def _explain(self, request: web.Request) -> NoReturn:
        """Refuse what is no upgrade, for the first reason that there is."""
        try:
            await self._admit(request)
            raise ClientError(Code.INVALID_REQUEST, "this is a WebSocket endpoint: send an upgrade")
        except ClientError as error:
            raise await self._gate.refused_upgrade(request, error) from None

    async def _refuse(self, web_socket: WebSocket, request: web.Request, error: ClientError) -> None:
        error = await self._gate.refused_upgrade(request, error)
        log.debug("connection_refused", code=error.code, address=client_address(request, self._proxies))
        self._gate.note(Surface.WEBSOCKET, request, error.code)
        await _part.run(refuse(web_socket, error))

    async def _let_in(self, web_socket: WebSocket, request: web.Request) -> None:
        tenant, identity = await self._admit(request)
        facts = self._facts(request, identity)
        self._ids.add(facts.connection_id)
        try:
            with bound_contextvars(connection_id=facts.connection_id):
                await self._register(tenant, facts)
                await self._serve(web_socket, request, tenant, identity, facts)
        finally:
            self._ids.discard(facts.connection_id)

    def _web_socket(self, request: web.Request) -> WebSocket:
        tenant = self._tenants.get(request.match_info["project_id"])
        protocols = (SUBPROTOCOL,) if hdrs.SEC_WEBSOCKET_PROTOCOL in request.headers else ()
        return WebSocket(tenant.limits if tenant else Limits(), protocols)

    async def _admit(self, request: web.Request) -> tuple[Tenant, Identity]:
        tenant = find_tenant(self._tenants, request)
        if self.draining:
            raise Unavailable("this node is draining; another one will answer")
        self._gate.upgrade(request)
        check_origin(tenant.project, request)
        if not tenant.takes_one_more(time.monotonic()):
            seconds = 1 / tenant.limits.connections_per_second
            raise RateLimited("too many connections a second; try again later", seconds)
        return tenant, await identify(tenant, websocket_token(request))

    def _facts(self, request: web.Request, identity: Identity) -> Open:
        agent = request.headers.get(hdrs.USER_AGENT)
        return Open(
            connection_id=secrets.token_hex(8),
            user_id=identity.user_id,
            ip=client_address(request, self._proxies),
            user_agent=agent and mended(agent, MAX_USER_AGENT),
            node=self._node.id,
            connected_at=time.time(),
        )

    async def _register(self, tenant: Tenant, facts: Open) -> None:
        """Count the connection over all nodes; while Redis is away, later."""
        try:
            await self._connection_log.admit(tenant.project_id, facts, tenant.limits)
        except asyncio.CancelledError:  # this node stops; Redis may have counted it, or may yet
            self._connection_log.depart(tenant.project_id, facts, WSCloseCode.ABNORMAL_CLOSURE, None)
            raise
        except Unavailable:
            is_in = partial(self._is_in, facts.connection_id)
            self._connection_log.readmit(tenant.project_id, facts, tenant.limits, is_in)

    async def _serve(
        self,
        web_socket: WebSocket,
        request: web.Request,
        tenant: Tenant,
        identity: Identity,
        facts: Open,
    ) -> None:
        transport: Any = request.transport
        if transport is None:  # gone while it was let in
            self._connection_log.depart(tenant.project_id, facts, WSCloseCode.ABNORMAL_CLOSURE, None)
            return
        if tenant.is_gone:  # likewise; from here to `connections` there is no await
            self._connection_log.depart(tenant.project_id, facts, CLOSE_CODE[Code.NOT_FOUND], Code.NOT_FOUND)
            raise no_such_project()
        try:
            connection = self._connection(web_socket, transport, tenant, identity, facts)
        except Exception:
            self._connection_log.depart(tenant.project_id, facts, CLOSE_CODE[Code.INTERNAL], Code.INTERNAL)
            raise
        gauge = metrics.connections.labels(tenant.project_id)
        self.connections[connection] = facts
        self._node.count(tenant.project_id, 1)
        gauge.inc()
        metrics.opened.labels(tenant.project_id).inc()
        log.debug("connection_opened", address=facts.ip)
        try:
            await connection.run()
        finally:
            del self.connections[connection]
            self._node.count(tenant.project_id, -1)
            gauge.dec()
            code, reason = connection.ended or (
                web_socket.close_code or WSCloseCode.ABNORMAL_CLOSURE,
                None,
            )
            log.debug("connection_closed", code=code, reason=reason)
            self._connection_log.depart(tenant.project_id, facts, code, reason)

    def _connection(
        self,
        web_socket: WebSocket,
        transport: asyncio.Transport,
        tenant: Tenant,
        identity: Identity,
        facts: Open,
    ) -> Connection:
        session = Session(tenant.project_id, facts.connection_id, identity, tenant.limits, time.time())
        return Connection(
            web_socket,
            transport,
            tenant,
            session,
            self._subscriptions,
            self._ways,
            self._pump,
            self._heartbeat_seconds,
        )

    def put_back(self) -> None:
        """After a new life has begun: everybody who is in is counted again, and present again."""
        for connection, facts in list(self.connections.items()):
            try:
                self._put_back(connection, facts)
            except Exception as error:
                connection.fail(error)  # it would be in Redis by halves

    def _put_back(self, connection: Connection, facts: Open) -> None:
        project, session = connection.tenant.project_id, connection.session
        is_in = partial(self._is_in, facts.connection_id)
        self._connection_log.readmit(project, facts, connection.tenant.limits, is_in)
        for topic in session.presences:
            entry = partial(session.present_entry, topic)
            self._ways.presence.restore(project, topic, session.connection_id, entry)

    def _is_in(self, connection_id: str) -> bool:
        return connection_id in self._ids

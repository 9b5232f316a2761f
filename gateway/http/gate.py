"""The gate of both doors: asks the rates, holds back the refusal of whoever is over one, notes every refusal.

Middlewares and the WebSocket endpoint ask here. Whoever goes on over a rate gets each refusal after a moment:
so a client that asks in a loop costs next to nothing, and the others hardly notice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from aiohttp import web

from gateway.http.middlewares import tenant_of
from gateway.http.refusals import Refusals, Surface
from gateway.http.request import Proxies, client_address
from gateway.projects.project import Tenant
from gateway.projects.rate_limit import Rates
from realtime.errors import ClientError, Code, RateLimited

PENALTY_SECONDS = 1.0  # that a refusal for a rate is held back
MAX_HELD_UP = 1_000  # requests at a time; what comes beyond is told at once

# What is wrong with what was sent. A token that ran out was good once: all clients of an office that wakes up
# have one.
COUNTED = frozenset({Code.UNAUTHORIZED, Code.FORBIDDEN, Code.NOT_FOUND, Code.INVALID_REQUEST})


class Gate:
    """Rates and refusals of a node; `strangers` are the rates of requests that name no project."""

    def __init__(self, tenants: Mapping[str, Tenant], strangers: Rates, proxies: Proxies) -> None:
        self._tenants = tenants
        self._strangers = strangers
        self._proxies = proxies
        self._refusals = Refusals(time.monotonic())
        self._held_up = 0

    async def request(self, request: web.Request) -> None:
        """Let a request of REST through, or raise RateLimited after a moment."""
        try:
            self._rates(request).request(self._address(request), time.monotonic())
        except RateLimited as error:
            raise await self._held_back(error) from None

    async def token(self, tenant: Tenant, token: str) -> None:
        """Let a request by a valid token through, or raise RateLimited after a moment."""
        try:
            tenant.rates.token(token, time.monotonic())
        except RateLimited as error:
            raise await self._held_back(error) from None

    def upgrade(self, request: web.Request) -> None:
        """Let a request for a WebSocket through, or raise RateLimited."""
        self._rates(request).upgrade(self._address(request), time.monotonic())

    async def refused_upgrade(self, request: web.Request, error: ClientError) -> ClientError:
        """Return how a request for a WebSocket is to be refused, after a moment if that goes on and on."""
        if error.code in COUNTED:
            try:
                self._rates(request).refused(self._address(request), time.monotonic())
            except RateLimited as limited:
                return await self._held_back(limited)
        return await self._held_back(error) if isinstance(error, RateLimited) else error

    def note(self, door: Surface, request: web.Request, code: Code) -> None:
        """Count and log that a request is refused."""
        tenant = tenant_of(request.path, self._tenants)
        self._refusals.note(door, tenant.project_id if tenant else None, code, self._address(request))

    def note_unparsable(self, address: str, error: ClientError) -> None:
        """Likewise, of a request that no handler saw."""
        self._refusals.note(Surface.REST, None, error.code, address)

    async def hold_up_unparsable(self, address: str) -> None:
        """Make an address wait that sends such requests again and again."""
        try:
            self._strangers.refused(address, time.monotonic())
        except RateLimited as error:
            await self._held_back(error)

    def _rates(self, request: web.Request) -> Rates:
        tenant = tenant_of(request.path, self._tenants)
        return tenant.rates if tenant else self._strangers

    def _address(self, request: web.Request) -> str:
        return client_address(request, self._proxies)

    async def _held_back(self, error: RateLimited) -> RateLimited:
        """Return the error as it is true after the moment for which it was held back."""
        if self._held_up >= MAX_HELD_UP:
            return error
        self._held_up += 1
        try:
            await asyncio.sleep(PENALTY_SECONDS)
        finally:
            self._held_up -= 1
        return RateLimited(error.message, error.retry_seconds - PENALTY_SECONDS)

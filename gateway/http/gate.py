"""The gate for REST and WebSocket: checks the rates, delays a refusal for a rate, counts every refusal.

REST middlewares and the WebSocket endpoint call the gate. A client over a rate gets each refusal after a
delay: so a client that retries in a loop costs next to nothing, and other clients hardly notice it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from aiohttp import web

from gateway.http.middlewares import tenant_of
from gateway.http.refusals import Refusals, Surface
from gateway.http.request import Proxies, client_address
from gateway.http.timings import DEFAULTS, HttpTimings
from gateway.projects.project import Tenant
from gateway.projects.rate_limit import Rates
from realtime.errors import ClientError, Code, RateLimited

# Errors in the request itself. TOKEN_EXPIRED is not counted, since an expired token was valid once: all
# clients of an office that wakes up have one.
COUNTED = frozenset({Code.UNAUTHORIZED, Code.FORBIDDEN, Code.NOT_FOUND, Code.INVALID_REQUEST})


class Gate:
    """Rates and refusals of a node; `strangers` are the rates of requests that name no served project."""

    def __init__(
        self,
        tenants: Mapping[str, Tenant],
        strangers: Rates,
        proxies: Proxies,
        timings: HttpTimings = DEFAULTS,
    ) -> None:
        self._tenants = tenants
        self._strangers = strangers
        self._proxies = proxies
        self.timings = timings
        self._refusals = Refusals(time.monotonic())
        self._held_up = 0

    async def request(self, request: web.Request) -> None:
        """Let a REST request through, or raise RateLimited after a delay."""
        try:
            self._rates(request).request(self._address(request), time.monotonic())
        except RateLimited as error:
            raise await self._held_back(error) from None

    async def token(self, tenant: Tenant, token: str) -> None:
        """Let a request with a valid token through, or raise RateLimited after a delay."""
        try:
            tenant.rates.token(token, time.monotonic())
        except RateLimited as error:
            raise await self._held_back(error) from None

    def upgrade(self, request: web.Request) -> None:
        """Let a WebSocket request through, or raise RateLimited at once."""
        self._rates(request).upgrade(self._address(request), time.monotonic())

    async def refused_upgrade(self, request: web.Request, error: ClientError) -> ClientError:
        """Return the error that refuses a WebSocket request, after a delay if the client is over a rate."""
        if error.code in COUNTED:
            try:
                self._rates(request).refused(self._address(request), time.monotonic())
            except RateLimited as limited:
                return await self._held_back(limited)
        return await self._held_back(error) if isinstance(error, RateLimited) else error

    def note(self, surface: Surface, request: web.Request, code: Code) -> None:
        """Count and log the refusal of a request."""
        tenant = tenant_of(request.path, self._tenants)
        self._refusals.note(surface, tenant.project_id if tenant else None, code, self._address(request))

    def note_unparsable(self, address: str, error: ClientError) -> None:
        """Count and log the refusal of a request that no handler saw."""
        self._refusals.note(Surface.REST, None, error.code, address)

    async def hold_up_unparsable(self, address: str) -> None:
        """Delay an address that sends too many requests that cannot be parsed."""
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
        """Delay a refusal, unless too many are delayed; return the error with the retry time that is left."""
        if self._held_up >= self.timings.max_delayed:
            return error
        self._held_up += 1
        try:
            await asyncio.sleep(self.timings.penalty_seconds)
        finally:
            self._held_up -= 1
        return RateLimited(error.message, error.retry_seconds - self.timings.penalty_seconds)

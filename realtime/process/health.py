"""The internal port of a process: `/healthz`, `/readyz` and `/metrics`.

Each composition root starts the port and says what "ready" means. Do not expose the port to the public.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, disable_created_metrics, generate_latest

from realtime.process.http_protocol import HttpProtocol, on_prepare, protocol_factory

Readiness = Callable[[], str | None]  # why the process is not ready, or None


def in_public(reason: str | None) -> str | None:
    """Return a reason that everybody may read: without the text after the colon, such as hosts."""
    return reason and reason.partition(":")[0]


def health_routes(why_not_ready: Readiness) -> list[web.RouteDef]:
    """`/healthz`: the process runs. `/readyz`: 200 while the process is ready, else 503 and the reason."""

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        reason = why_not_ready()
        if reason is None:
            return web.json_response({"status": "ok"})
        return web.json_response({"status": "unavailable", "reason": reason}, status=503)

    return [web.get("/healthz", healthz), web.get("/readyz", readyz)]


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})


@asynccontextmanager
async def internal_http(host: str, port: int | None, why_not_ready: Readiness) -> AsyncIterator[None]:
    """Serve the internal port while the block runs; `port` None serves nothing."""
    if port is None:
        yield
        return
    # The time at which each series began is a third of all series, and nobody queries it.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    app = web.Application()
    app.add_routes([*health_routes(why_not_ready), web.get("/metrics", _metrics)])
    app.on_response_prepare.append(on_prepare)
    runner = web.AppRunner(app)
    await runner.setup()
    accept = protocol_factory(HttpProtocol, runner)
    server = await asyncio.get_running_loop().create_server(accept, host, port)
    try:
        yield
    finally:
        server.close()
        await runner.cleanup()

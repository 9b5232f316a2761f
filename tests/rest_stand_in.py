"""A stand-in for the service: answers REST requests as a test says, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

WAIT_SECONDS = 30.0


@dataclass
class Asked:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    body: str
    headers: dict[str, str]


@dataclass
class StandIn:
    """Answers by `METHOD /path` below the project; the last answer of a list is given again and again."""

    answers: dict[str, list[web.Response | str]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def on(self, what: str, *answers: web.Response | str) -> None:
        self.answers[what] = list(answers)

    def refuse(self, what: str, status: int, code: str, message: str, **headers: str) -> web.Response:
        body = {"error": {"code": code, "message": message}}
        refusal = web.json_response(body, status=status, headers=headers)
        self.answers.setdefault(what, []).append(refusal)
        return refusal

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path.partition("/realtime")[2]
        body = await request.text()
        self.asked.append(
            Asked(request.method, request.path, dict(request.query), body, dict(request.headers))
        )
        answers = self.answers.get(f"{request.method} {path}")
        if answers is None:
            return web.json_response({"error": {"code": "not_found", "message": path}}, status=404)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, str):
            return web.Response(text=answer, content_type="application/json")
        return web.Response(body=answer.body, status=answer.status, headers=answer.headers)


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """Serve on a port of the loopback address while the block runs."""
    it = StandIn()
    ready = threading.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        runner = web.ServerRunner(web.Server(it.handle), shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        it.url = f"http://{host}:{port}"
        stopped = asyncio.Event()
        it_stops.append(lambda: loop.call_soon_threadsafe(stopped.set))
        ready.set()
        await stopped.wait()
        await runner.cleanup()

    it_stops: list = []
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(WAIT_SECONDS)
    try:
        yield it
    finally:
        it_stops[0]()
        thread.join(WAIT_SECONDS)
        loop.close()
    assert not thread.is_alive()

"""The demo page at `/demo`, and a token for it: in `realtime dev` alone, which sets `demo_page`.

Whoever opens the page gets an ordinary token of the project `demo`. So all of it exists only for a browser on
this machine: the connection must have come to a loopback address, and under a name of this machine, which
keeps out a foreign page whose own name leads here. No header lets a page of another origin read the token.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from aiohttp import hdrs, web

from gateway.http.middlewares import Handler
from gateway.http.pages import PAGE_HEADERS, StaticFile, sent
from gateway.http.request import Tenants, parse_address
from realtime.auth.tokens import DEFAULT_ROLE, issue
from realtime.errors import ClientError, Code

PROJECT = "demo"
FILES = Path(__file__).parent.parent / "demo"
PATHS = {"/demo": "index.html", "/demo/demo.js": "demo.js", "/demo/demo.css": "demo.css"}

TOKEN_SECONDS = 3600.0
GUEST = re.compile(r"guest-[a-z0-9]{1,16}")  # who the page may be
LOCAL_NAME = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]+)?", re.IGNORECASE)


def demo_routes(tenants: Tenants) -> list[web.RouteDef]:
    """Return the routes of the page, its files and its tokens."""
    files = [
        web.get(path, _only_here(sent(StaticFile.read(FILES / name, with_comments=True), PAGE_HEADERS)))
        for path, name in PATHS.items()
    ]
    return [*files, web.get("/demo/token", _only_here(_token_for_guests(tenants)), allow_head=False)]


def _only_here(handler: Handler) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        if not is_here(request):
            raise ClientError(Code.NOT_FOUND, "there is no such page")
        return await handler(request)

    return handle


def is_here(request: web.Request) -> bool:
    """Whether a request came from this machine, straight and under this machine's name."""
    address = request.transport and request.transport.get_extra_info("sockname")
    if not isinstance(address, tuple) or hdrs.X_FORWARDED_FOR in request.headers:
        return False
    local = parse_address(address[0])
    return local is not None and local.is_loopback and LOCAL_NAME.fullmatch(request.host) is not None


def _token_for_guests(tenants: Tenants) -> Handler:
    async def token(request: web.Request) -> web.Response:
        sub = request.query.get("sub", "")
        if not GUEST.fullmatch(sub):
            raise ClientError(Code.INVALID_REQUEST, "sub: expected guest- and at most 16 letters or digits")
        project = tenants[PROJECT].project if PROJECT in tenants else None
        if project is None or project.jwt_secret is None:
            raise ClientError(Code.NOT_FOUND, "there is no project demo with a jwt_secret")
        text = issue(
            project.jwt_secret,
            PROJECT,
            sub,
            DEFAULT_ROLE,
            min(TOKEN_SECONDS, project.max_token_seconds or TOKEN_SECONDS),
            time.time(),
            audience=project.jwt_audience,
            issuer=project.jwt_issuer,
        )
        return web.Response(text=text, headers={hdrs.CACHE_CONTROL: "no-store"})

    return token

"""The dashboard at `/dashboard`, and the JavaScript client at `/realtime.js`: files of the package.

All files are read and compressed once, when a gateway starts; comments are left out. Each file is a route of
its own: no part of a request's path reaches the file system. The files hold nothing of a project, so they
need no token.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from aiohttp import hdrs, web

from gateway.http.middlewares import Handler

DASHBOARD = "/dashboard"
CLIENT = "/realtime.js"
FILES = Path(__file__).parent.parent  # of the package: `dashboard/` and `static/realtime.js`

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:"
PAGE_HEADERS = {
    hdrs.CONTENT_SECURITY_POLICY: POLICY,
    hdrs.X_FRAME_OPTIONS: "DENY",
    "Referrer-Policy": "no-referrer",
}
_SHARED = {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*", "Cross-Origin-Resource-Policy": "cross-origin"}

_KINDS = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
_GZIP = "gzip"
# Lines of a page that hold nothing but a comment. Vendored files begin with `/*!`, and stay as they are.
_COMMENTS = {
    ".js": re.compile(rb"^[ ]*(?://.*|/\*\*[^*]*(?:\*(?!/)[^*]*)*\*/[ ]*)\n", re.MULTILINE),
    ".css": re.compile(rb"^[ ]*/\*[^!*][^*]*\*/[ ]*\n", re.MULTILINE),
}
_REFUSED = re.compile(r"q=0(\.0{0,3})?")


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file as it is sent: its bytes, plain and compressed, and the tags by which caches know each."""

    kind: str
    plain: bytes
    compressed: bytes
    tag: str

    @classmethod
    def read(cls, path: Path, *, with_comments: bool = False) -> StaticFile:
        plain = path.read_bytes() if with_comments else as_sent(path)
        return cls(
            _KINDS[path.suffix], plain, gzip.compress(plain, 9, mtime=0), sha256(plain).hexdigest()[:32]
        )


def as_sent(path: Path) -> bytes:
    """Return the bytes of a file without its comments."""
    comments = _COMMENTS.get(path.suffix)
    plain = path.read_bytes()
    return plain if comments is None else comments.sub(b"", plain)


def page_routes(*, dashboard: bool) -> list[web.RouteDef]:
    """Return the routes of all files; without `dashboard` that of the client alone."""
    client = FILES / "static" / "realtime.js"
    routes = [web.get(CLIENT, sent(StaticFile.read(client), _SHARED))] if client.is_file() else []
    if not dashboard:
        return routes
    for name, file in dashboard_files().items():
        path = DASHBOARD if name == "index.html" else f"{DASHBOARD}/{name}"
        routes.append(web.get(path, sent(file, PAGE_HEADERS)))
    return [*routes, web.get(f"{DASHBOARD}/", _without_slash)]


def dashboard_files() -> dict[str, StaticFile]:
    """Return the files of the dashboard by their paths in it; a file of another kind is not served."""
    root = FILES / "dashboard"
    return {
        path.relative_to(root).as_posix(): StaticFile.read(path)
        for path in sorted(root.rglob("*"))
        if path.suffix in _KINDS and path.is_file()
    }


async def _without_slash(_: web.Request) -> web.Response:
    """Lead to the page, relative to any prefix that a proxy has put before the path."""
    return web.Response(status=308, headers={hdrs.LOCATION: "../dashboard"})


def sent(file: StaticFile, headers: Mapping[str, str]) -> Handler:
    """Return the handler that sends a file, or says that the client's copy is the same."""

    async def send(request: web.Request) -> web.Response:
        accepts_gzip = _accepts_gzip(request.headers.getall(hdrs.ACCEPT_ENCODING, ()))
        tag = f'"{file.tag}-{_GZIP}"' if accepts_gzip else f'"{file.tag}"'
        known = ",".join(request.headers.getall(hdrs.IF_NONE_MATCH, ()))
        response = web.Response(headers=headers)
        response.headers[hdrs.ETAG] = tag
        response.headers[hdrs.CACHE_CONTROL] = "no-cache"
        response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
        if any(_same(one, tag) for one in known.split(",")):
            response.set_status(304)
            return response
        response.content_type, response.charset = file.kind, "utf-8"
        response.body = file.compressed if accepts_gzip else file.plain
        if accepts_gzip:
            response.headers[hdrs.CONTENT_ENCODING] = _GZIP
        return response

    return send


def _same(known: str, tag: str) -> bool:
    """Compare tags weakly: a proxy that compresses anew makes a tag weak."""
    return known.strip().removeprefix("W/") in (tag, "*")


def _accepts_gzip(accepted: list[str] | tuple[()]) -> bool:
    for one in ",".join(accepted).lower().split(","):
        name, *parameters = (part.strip() for part in one.split(";"))
        if name in (_GZIP, "*"):
            return not any(_REFUSED.fullmatch(parameter) for parameter in parameters)
    return False

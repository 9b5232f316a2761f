"""Access control: the one place that checks project, token, role and Origin of every request.

REST handlers and the WebSocket endpoint call these functions first; a refusal is raised as ClientError.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import hdrs, web

from gateway import metrics
from gateway.projects.project import Tenant
from realtime.auth.tokens import Identity
from realtime.clean_text import is_clean
from realtime.errors import ClientError, Code
from realtime.settings.config import Project

SUBPROTOCOL = "realtime"

Tenants = Mapping[str, Tenant]
Proxies = Sequence[IPv4Network | IPv6Network]


def find_tenant(tenants: Tenants, request: web.Request) -> Tenant:
    """Return the project that a request's path names; ClientError `not_found` if it is not served."""
    tenant = tenants.get(request.match_info["project_id"])
    if tenant is None:
        raise no_such_project()
    return tenant


def no_such_project() -> ClientError:
    return ClientError(Code.NOT_FOUND, "there is no such project")


async def identify(tenant: Tenant, token: str | None) -> Identity:
    """Return the identity that a token has in this project; count a refusal."""
    try:
        if not token:
            raise ClientError(Code.UNAUTHORIZED, "a token is required")
        return await tenant.keys.verify(token, time.time())
    except ClientError as error:
        metrics.refused_tokens.labels(tenant.project_id, error.code).inc()
        raise


def require_service(identity: Identity) -> None:
    if not identity.is_service:
        raise ClientError(Code.FORBIDDEN, "only a token with the role service_role may do this")


def bearer_token(request: web.Request) -> str | None:
    """Return the token of the Authorization header."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def websocket_token(request: web.Request) -> str | None:
    """Return the token of a WebSocket request: from the query, the Authorization header or a subprotocol."""
    return request.query.get("token") or bearer_token(request) or _subprotocol_token(request)


def _subprotocol_token(request: web.Request) -> str | None:
    offered = ",".join(request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ()))
    match [protocol.strip() for protocol in offered.split(",")]:
        case [protocol, token] if protocol == SUBPROTOCOL:
            return token
    return None


def client_address(request: web.Request, proxies: Proxies) -> str:
    """Return the client's address: the peer, or the address that trusted proxies name in X-Forwarded-For.

    The header is read from the right: each trusted proxy vouches for the address before it, and for no other.
    """
    address = parse_address(request.remote or "")
    forwarded = ",".join(request.headers.getall(hdrs.X_FORWARDED_FOR, ())).split(",")
    for one in reversed(forwarded):
        if not one.strip():
            continue
        if address is None or not any(address in network for network in proxies):
            break
        if (named := parse_address(one)) is None:
            break
        address = named
    return "" if address is None else str(address)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        # The zone of an IPv6 address is a name that its own host gave to a network: it means nothing here.
        address = ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    # A socket for IPv6 and IPv4 reports an IPv4 peer as a mapped IPv6 address.
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def check_origin(project: Project, request: web.Request) -> None:
    """Refuse a page whose Origin the project does not allow; a client without Origin is no browser."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and not is_allowed_origin(origin, project.allowed_origins):
        raise ClientError(Code.FORBIDDEN, "this Origin is not allowed")


def is_allowed_origin(origin: str, allowed: list[str]) -> bool:
    """Compare exactly except for case; `*.` stands for one or more whole labels, `*` for everything.

    Text that no browser sends as an origin is refused, even by `*`: a response header could not repeat it.
    """
    return (origin.isascii() and is_clean(origin)) and any(
        pattern == "*" or re.fullmatch(_expression(pattern), origin, re.IGNORECASE | re.ASCII)
        for pattern in allowed
    )


def _expression(pattern: str) -> str:
    return re.escape(pattern).replace(re.escape("://*."), r"://([\w-]+\.)+")

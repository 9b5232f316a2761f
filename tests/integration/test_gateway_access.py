"""Who gets in: the ways to bring a token, Origin, refusals of an upgrade and of plain HTTP."""

from __future__ import annotations

import base64
import hmac
import time
from typing import Any, cast

import jwt
import pytest
from aiohttp import WSServerHandshakeError
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.gateway_fixture import SECRET, running_gateway, settings_for, token_for

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def signed(key=SECRET, algorithm="HS256", **claims):
    claims = {"sub": "alice", "exp": int(time.time()) + 600} | claims
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key, algorithm)


def signed_with_sha512() -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"HS512"}').rstrip(b"=").decode()
    signed_part = f"{header}.{parts(signed())[1]}"
    signature = hmac.digest(SECRET.encode(), signed_part.encode(), "sha512")
    return f"{signed_part}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def parts(token: str) -> list[str]:
    return token.split(".")


WRONG = {
    "no token at all": lambda: None,
    "an empty one": lambda: "",
    "no JWT": lambda: "nonsense",
    "dots alone": lambda: "..",
    "another key": lambda: signed(key="another secret of more than 32 bytes"),
    "alg none": lambda: jwt.encode({"exp": int(time.time()) + 600}, cast(Any, None), "none"),
    "an algorithm not pinned": lambda: signed_with_sha512(),
    "a public-key algorithm": lambda: signed(key=RSA, algorithm="RS256"),
    "no signature": lambda: ".".join(parts(signed())[:2]) + ".",
    "a signature of other claims": lambda: ".".join(parts(signed())[:2] + parts(signed(sub="bob"))[2:]),
    "no exp": lambda: signed(exp=None),
    "exp that is a word": lambda: signed(exp="tomorrow"),
    "nbf in the future": lambda: signed(nbf=int(time.time()) + 60),
    "sub that is no string": lambda: jwt.PyJWS().encode(b'{"sub":5,"exp":99999999999}', SECRET),
    "another project": lambda: signed(project_id="other"),
    "a project that is null": lambda: jwt.PyJWS().encode(b'{"project_id":null,"exp":99999999999}', SECRET),
    "claims that are a list": lambda: jwt.PyJWS().encode(b"[]", SECRET),
    "claims that are no JSON": lambda: jwt.PyJWS().encode(b"{", SECRET),
    "a very long one": lambda: signed(more="x" * 9_000),
    "an expired one of another key": lambda: signed(key="x" * 40, exp=1),
}


@pytest.fixture
def database_url():
    """None: nothing here asks a database."""
    return "postgresql://127.0.0.1:1/nowhere"


async def test_a_token_may_come_in_the_url(gateway):
    async with gateway.socket(token=token_for()) as client:
        assert (await client.hear())["type"] == "connected"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_a_token_may_come_in_the_authorization_header(gateway, scheme):
    async with gateway.socket(headers={"Authorization": f"{scheme} {token_for()}"}) as client:
        assert (await client.hear())["type"] == "connected"


async def test_a_token_may_come_as_the_second_subprotocol_and_the_first_is_selected(gateway):
    async with gateway.socket(protocols=["realtime", token_for()]) as client:
        assert (await client.hear())["type"] == "connected"
        assert client.web_socket.protocol == "realtime"


async def test_no_subprotocol_is_selected_where_none_is_offered(gateway):
    async with gateway.client() as client:
        assert client.web_socket.protocol is None


@pytest.mark.parametrize(
    "protocols", [["bearer", token_for()], [token_for()], ["realtime", token_for(), "x"]]
)
async def test_a_token_among_other_subprotocols_is_no_token(gateway, protocols):
    async with gateway.socket(protocols=protocols) as client:
        assert await client.is_refused() == ("unauthorized", 4401)


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_token_is_refused_and_closed(gateway, wrong):
    async with gateway.socket(token=WRONG[wrong]()) as client:
        assert await client.is_refused() == ("unauthorized", 4401)


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_token_in_a_header_is_refused_the_same(gateway, wrong):
    async with gateway.socket(headers={"Authorization": f"Bearer {WRONG[wrong]()}"}) as client:
        assert await client.is_refused() == ("unauthorized", 4401)


async def test_an_expired_token_is_told_so(gateway):
    async with gateway.socket(token=token_for(ttl=-60)) as client:
        assert await client.is_refused() == ("token_expired", 4401)


async def test_a_token_of_a_moment_ago_still_gets_in(gateway):
    async with gateway.client(token_for(ttl=-2)) as client:
        assert (await client.ask(type="ping"))["type"] == "pong"


async def test_a_token_without_project_id_is_good_where_its_key_is(gateway):
    for project in ["demo", "other"]:
        async with gateway.client(signed(), project=project) as client:
            assert client.connected["project_id"] == project


@pytest.mark.parametrize(
    "project", ["nowhere", "Demo", "-demo", "x" * 64, "de.mo", "%64emo%20", "a%00b", "%F0%9F%98%80"]
)
async def test_a_project_that_is_not_there_is_not_found(gateway, project):
    async with gateway.socket(project, token=token_for()) as client:
        assert await client.is_refused() == ("not_found", 4404)


ORIGINS = [
    "https://app.example.com",
    "https://*.example.org",
    "https://*.ports.net:8443",
    "http://localhost:3000",
]


@pytest.fixture
async def picky(database_url, redis_url):
    async with running_gateway(settings_for(database_url, redis_url, origins=ORIGINS)) as gateway:
        yield gateway


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com",
        "HTTPS://App.Example.com",
        "https://a.example.org",
        "https://a.b.example.org",
        "https://a.ports.net:8443",
        "http://localhost:3000",
    ],
)
async def test_an_allowed_origin_gets_in(picky, origin):
    async with picky.client(origin=origin) as client:
        assert (await client.ask(type="ping"))["type"] == "pong"


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.com",
        "http://app.example.com",
        "https://app.example.com:444",
        "https://app.example.com.evil.com",
        "https://evil-app.example.com",
        "https://example.org",
        "https://evilexample.org",
        "https://.example.org",
        "https://evil.com/.example.org",
        "https://evil.com#.example.org",
        "https://evil.com?.example.org",
        "https://evil.com\\.example.org",
        "https://user@a.example.org",
        "https://a..example.org",
        "https://a.ports.net",
        "http://localhost",
        "null",
        "",
        "*",
    ],
)
async def test_any_other_origin_is_forbidden(picky, origin):
    async with picky.socket(token=token_for(), origin=origin) as client:
        assert await client.is_refused() == ("forbidden", 4403)


async def test_without_origin_every_setting_lets_in(picky, gateway):
    for node in [picky, gateway]:
        async with node.client() as client:
            assert (await client.ask(type="ping"))["type"] == "pong"


async def test_without_allowed_origins_no_origin_is_allowed(gateway):
    async with gateway.socket(token=token_for(), origin="http://localhost") as client:
        assert await client.is_refused() == ("forbidden", 4403)


async def test_a_star_allows_every_origin(database_url, redis_url):
    async with running_gateway(settings_for(database_url, redis_url, origins=["*"])) as gateway:
        for origin in ["https://anything.example", "null", "http://localhost:1"]:
            async with gateway.client(origin=origin) as client:
                assert (await client.ask(type="ping"))["type"] == "pong"


@pytest.mark.parametrize(
    ("project", "token", "origin", "status", "code"),
    [
        ("demo", None, None, 401, "unauthorized"),
        ("demo", "nonsense", None, 401, "unauthorized"),
        ("demo", token_for(ttl=-60), None, 401, "token_expired"),
        ("demo", token_for("other"), None, 401, "unauthorized"),
        ("demo", token_for(), "https://evil.example", 403, "forbidden"),
        ("nowhere", token_for(), None, 404, "not_found"),
        ("demo", token_for(), None, 400, "invalid_request"),
    ],
)
async def test_plain_http_gets_a_status_and_the_body_of_rest(gateway, project, token, origin, status, code):
    headers = {"Origin": origin} if origin else {}
    answer = await gateway.rest("GET", "/ws", token, project, headers=headers)
    assert (answer[0], answer[1]["error"]["code"]) == (status, code)


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE"])
async def test_a_socket_is_opened_by_get_alone(gateway, method):
    status, _, headers = await gateway.rest(method, "/ws", token_for())
    assert (status, headers["Allow"]) == (405, "GET")


async def test_an_upgrade_of_an_old_version_is_plain_http(gateway):
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "5"}
    status, body, _ = await gateway.rest("GET", "/ws", token_for(), headers=headers)
    assert (status, body["error"]["code"]) == (400, "invalid_request")


async def test_another_path_is_not_found_in_the_body_of_rest(gateway):
    with pytest.raises(WSServerHandshakeError, match="404"):
        await gateway.http.ws_connect(f"{gateway.url}/ws")
    status, body, _ = await gateway.rest("GET", "/nowhere")
    assert (status, body["error"]["code"]) == (404, "not_found")

"""REST: who may ask, what HTTP itself refuses, what a body or a parameter may be, and CORS."""

from __future__ import annotations

import asyncio
import io
import json
from urllib.parse import urlsplit

import asyncpg
import pytest

from gateway.http.timings import HttpTimings
from gateway.timings import Timings
from realtime.settings.config import Project, Settings
from tests.change_stream import DEADLINE, streaming
from tests.expressions import value
from tests.gateway_fixture import SECRET, eventually, running_gateway, settings_for, token_for
from tests.ports import free_port
from tests.rest_endpoints import ENDPOINTS, FOR_ALL

SERVICE = token_for(role="service_role")
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


async def code_of(gateway, method, path, token, project="demo", **more):
    """Status and code of a refusal, which has the one form of all."""
    status, body, headers = await gateway.rest(method, path, token, project, **more)
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    assert headers["Content-Type"].startswith("application/json")
    return status, body["error"]["code"]


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_every_endpoint_asks_for_a_token_first(gateway, method, path):
    for token in [None, "", "nonsense", token_for("other"), SERVICE[:-3]]:
        assert await code_of(gateway, method, path, token) == (401, "unauthorized")
    assert await code_of(gateway, method, path, token_for(ttl=-60)) == (401, "token_expired")
    assert await code_of(gateway, method, path, SERVICE, "nowhere") == (404, "not_found")


@pytest.mark.parametrize(("method", "path"), [one for one in ENDPOINTS if one[1] not in FOR_ALL])
async def test_what_administers_is_forbidden_to_ordinary_tokens(gateway, method, path):
    for role in ["authenticated", "anon", "SERVICE_ROLE", "service_role "]:
        assert await code_of(gateway, method, path, token_for(role=role)) == (403, "forbidden")


async def test_a_token_in_the_url_is_no_token_for_rest(gateway):
    assert await code_of(gateway, "GET", f"/status?token={SERVICE}", None) == (401, "unauthorized")


async def test_another_scheme_than_bearer_is_no_token(gateway):
    headers = {"Authorization": f"Basic {SERVICE}"}
    assert await code_of(gateway, "GET", "/status", None, headers=headers) == (401, "unauthorized")


async def test_401_says_how_to_authenticate(gateway):
    _, _, headers = await gateway.rest("GET", "/status")
    assert headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/enable", "POST"),
        ("PUT", "/disable", "POST"),
        ("POST", "/status", "GET"),
        ("DELETE", "/tables", "GET"),
    ],
)
async def test_another_method_is_not_allowed(gateway, method, path, allowed):
    assert await code_of(gateway, method, path, SERVICE) == (405, "method_not_allowed")
    _, _, headers = await gateway.rest(method, path, SERVICE)
    assert allowed in headers["Allow"].split(",")


@pytest.mark.parametrize("path", ["/nowhere", "/enable/", "/", "", "//status"])
async def test_another_path_is_not_found(gateway, path):
    assert await code_of(gateway, "GET", path, SERVICE) == (404, "not_found")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""])
async def test_another_content_type_is_refused(gateway, kind):
    more = {"data": b'{"table_name":"orders"}', "headers": {"Content-Type": kind}}
    assert await code_of(gateway, "POST", "/enable", SERVICE, **more) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nonsense", b'{"table_name":"a"} x', b"\xff\xfe", b'{"table_name":"\xed\xa0\x80"}',
     b'{"table_name":"\\ud800"}', b'{"table_name":"a","later":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
     b"[" * 100_000, b"null", b"[]", b'"orders"', b"5", b'{"table_name":1e999}',
     b'{"table_name":' + b"9" * 5_000 + b"}"],
    ids=lambda body: repr(body[:25]),
)  # fmt: skip
async def test_a_body_that_is_no_json_object_is_an_invalid_request(gateway, body):
    more = {"data": body, "headers": {"Content-Type": "application/json"}}
    assert await code_of(gateway, "POST", "/enable", SERVICE, **more) == (400, "invalid_request")


BEGUN = (
    f"POST /projects/demo/realtime/enable HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SERVICE}\r\n"
    "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
).encode()
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("timings", [Timings(http=HttpTimings(body_seconds=0.1))])
async def test_a_body_that_does_not_come_is_waited_for_no_longer_than_so(gateway):
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(BEGUN)
    answer = await asyncio.wait_for(reader.readuntil(b"}}"), DEADLINE)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"invalid_request"' in answer
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_goes_in_the_middle_of_its_body_is_no_fault_of_ours(gateway):
    """`gateway` fails the test for an error in the log."""

    def refused():
        return value("realtime_gateway_requests_total", endpoint="/enable", status="400")

    before = refused()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(BEGUN.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
    # What says that the body is waited for now.
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE) == CONTINUE
    writer.transport.abort()
    await eventually(lambda: refused() == before + 1)


async def test_a_huge_body_is_refused(gateway):
    body = json.dumps({"table_name": "x" * 2_000_000}).encode()
    more = {"data": io.BytesIO(body), "headers": {"Content-Type": "application/json"}}
    assert await code_of(gateway, "POST", "/enable", SERVICE, **more) == (413, "message_too_big")


async def test_a_charset_in_the_content_type_is_no_harm(gateway, sql):
    headers = {"Content-Type": "application/json; charset=utf-8"}
    status, _, _ = await gateway.rest(
        "POST", "/enable", SERVICE, data=b'{"table_name":"orders"}', headers=headers
    )
    assert status == 200


@pytest.fixture
async def open_to_app(database_url, redis_url):
    origins = ["https://app.example.com"]
    async with running_gateway(settings_for(database_url, redis_url, origins=origins)) as gateway:
        yield gateway


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_a_preflight_of_an_allowed_origin_is_answered(open_to_app, method, path):
    headers = {"Origin": "https://app.example.com", **PREFLIGHT}
    status, _, answered = await open_to_app.rest("OPTIONS", path, headers=headers)
    assert status == 204
    assert answered["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert method in answered["Access-Control-Allow-Methods"]
    assert "authorization" in answered["Access-Control-Allow-Headers"].lower()
    assert "Origin" in answered["Vary"]


async def test_a_preflight_of_another_origin_is_not(open_to_app):
    headers = {"Origin": "https://evil.example", **PREFLIGHT}
    status, _, answered = await open_to_app.rest("OPTIONS", "/enable", headers=headers)
    assert status != 204
    assert "Access-Control-Allow-Origin" not in answered


async def test_answers_and_refusals_may_be_read_by_an_allowed_origin_alone(open_to_app):
    for token in [token_for(), None]:
        for origin, allowed in [("https://app.example.com", True), ("https://evil.example", False)]:
            _, _, answered = await open_to_app.rest("GET", "/status", token, headers={"Origin": origin})
            assert answered.get("Access-Control-Allow-Origin") == (origin if allowed else None)
            assert "Origin" in answered["Vary"]


async def test_nothing_is_kept_in_a_cache_or_guessed_at_and_no_version_is_told(open_to_app):
    preflight = {"Origin": "https://app.example.com", **PREFLIGHT}
    for method, path, headers in [
        ("GET", "/projects/demo/realtime/status", {"Authorization": f"Bearer {SERVICE}"}),
        ("GET", "/projects/demo/realtime/status", {}),
        ("PUT", "/projects/demo/realtime/status", {}),
        ("OPTIONS", "/projects/demo/realtime/status", preflight),
        ("GET", "/nowhere", {}),
        ("GET", "/healthz", {}),
        ("GET", "/readyz", {}),
        ("GET", "/openapi.json", {}),
    ]:
        async with open_to_app.http.request(method, open_to_app.url + path, headers=headers) as answer:
            kept = "max-age=300" if path == "/openapi.json" else "no-store"
            assert answer.headers["Cache-Control"] == kept, path
            assert answer.headers["X-Content-Type-Options"] == "nosniff", path
            assert answer.headers["Server"] == "realtime", path


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "channel"),
        ({"channel": "room:a"}, "payload"),
        ({"payload": 1}, "channel"),
        ({"channel": None, "payload": 1}, "channel"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"channel": "room:a", "payload": 1}], "channel": "room:a"}, "messages"),
        ({"messages": [{"channel": "room:a", "payload": 1}], "channel": None}, "channel"),
        ({"messages": [{"channel": "room:a", "payload": 1}], "payload": None}, "messages"),
        ({"messages": [{"channel": "room:a", "payload": 1}] * 101}, "messages"),
        ({"messages": [{"channel": "room:a"}]}, "messages[0].payload"),
    ],
)
async def test_a_broadcast_in_neither_form_or_in_both_is_refused_and_the_field_named(gateway, body, field):
    _, answer, _ = await gateway.rest("POST", "/broadcast", SERVICE, json=body)
    assert answer["error"]["code"] == "invalid_request"
    assert answer["error"]["message"].startswith(f"{field}: ")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=",
        "limit=x",
        "limit=1&limit=2",
        "event=x",
        "event=",
        "before=1",
        "before=x-y",
    ],
)
async def test_a_wrong_parameter_is_refused_and_named(gateway, query):
    status, answer, _ = await gateway.rest("GET", f"/connections?{query}", SERVICE)
    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert answer["error"]["message"].startswith(query.partition("=")[0] + ": ")


async def test_a_parameter_that_nobody_knows_is_ignored(gateway):
    assert (await gateway.rest("GET", "/connections?later=1", SERVICE))[0] == 200


async def test_without_its_database_rest_is_unavailable_and_sockets_live(redis_url):
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/nowhere"
    project = Project(database_url=nowhere, jwt_secret=SECRET)
    settings = Settings(redis_url=redis_url, projects={"demo": project})
    async with running_gateway(settings) as gateway, gateway.client() as client:
        for method, path, more in [
            ("POST", "/enable", {"json": {"table_name": "orders"}}),
            ("POST", "/disable", {"json": {"table_name": "orders"}}),
            ("GET", "/tables", {}),
        ]:
            assert await code_of(gateway, method, path, SERVICE, **more) == (503, "unavailable")
        status, body, _ = await gateway.rest("GET", "/status", SERVICE)
        assert (status, body["status"]) == (200, "degraded")
        answer = await client.subscribe("table:orders")
        assert answer.get("enabled") is None
        assert (await client.ask(type="ping"))["type"] == "pong"


@pytest.fixture
async def administrator(postgres_url):
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close(timeout=30)


async def test_a_database_that_goes_away_takes_rest_with_it_and_no_stream(
    gateway, publisher, database_url, administrator
):
    name = urlsplit(database_url).path.removeprefix("/")
    async with gateway.client() as client:
        assert (await gateway.rest("GET", "/tables", SERVICE))[0] == 200
        async with streaming(client, publisher):
            await administrator.execute(f"alter database {name} allow_connections false")
            await administrator.fetch(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name
            )
            assert await code_of(gateway, "GET", "/tables", SERVICE) == (503, "unavailable")
            await administrator.execute(f"alter database {name} allow_connections true")
            await eventually(lambda: answers(gateway, "/tables"))


async def answers(gateway, path):
    return (await gateway.rest("GET", path, SERVICE))[0] == 200

"""The demo page as a gateway serves it: with the setting alone, under the policy, with ordinary tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator

import jwt
import msgspec
import pytest

from gateway.http.demo import FILES, PATHS
from realtime.settings.config import Project, Settings
from tests.gateway_fixture import SECRET, Gateway, running_gateway, settings_for

TOKEN = "/demo/token?sub=guest-a1"


@pytest.fixture
def with_page(database_url: str, redis_url: str) -> Settings:
    return settings_for(database_url, redis_url, origins=["*"], demo_page=True)


@pytest.fixture
async def demo(with_page: Settings) -> AsyncIterator[Gateway]:
    async with running_gateway(with_page) as gateway:
        yield gateway


async def status_of(gateway: Gateway, path: str, **headers: str) -> int:
    async with gateway.http.get(gateway.url + path, headers=headers) as answer:
        return answer.status


async def test_the_page_and_its_files_are_served_under_the_policy(demo: Gateway) -> None:
    assert {path.name for path in FILES.iterdir()} == set(PATHS.values())
    for path, name in PATHS.items():
        async with demo.http.get(demo.url + path) as answer:
            assert await answer.read() == (FILES / name).read_bytes()
            assert answer.headers["Content-Security-Policy"].startswith(
                "default-src 'none'; script-src 'self'"
            )


async def test_a_guest_gets_an_ordinary_token_that_no_other_page_may_read(demo: Gateway) -> None:
    async with demo.http.get(demo.url + TOKEN, headers={"Origin": "https://example.com"}) as answer:
        token = await answer.text()
        assert answer.headers["Cache-Control"] == "no-store"
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert (claims["sub"], claims["role"], claims["project_id"]) == ("guest-a1", "authenticated", "demo")
    assert 3600 <= claims["exp"] - claims["iat"] <= 3601
    async with demo.client(token) as client:
        assert (await client.subscribe("room:demo"))["type"] == "subscribed"


@pytest.mark.parametrize("query", ["", "?sub=alice", "?sub=guest-", "?sub=guest-a%0a"])
async def test_nobody_else_gets_a_token(demo: Gateway, query: str) -> None:
    assert await status_of(demo, f"/demo/token{query}") == 400


@pytest.mark.parametrize("headers", [{"Host": "example.com"}, {"X-Forwarded-For": "203.0.113.1"}])
async def test_for_others_than_this_machine_there_is_no_page(demo: Gateway, headers: dict[str, str]) -> None:
    for path in (*PATHS, TOKEN):
        assert await status_of(demo, path, **headers) == 404


async def test_without_the_setting_there_is_no_page(gateway: Gateway) -> None:
    for path in (*PATHS, TOKEN):
        assert await status_of(gateway, path) == 404


async def test_a_project_without_a_secret_gives_no_token(with_page: Settings) -> None:
    keyless = Project(
        database_url=with_page.projects["demo"].database_url, jwks_url="http://127.0.0.1:9/keys"
    )
    settings = msgspec.structs.replace(with_page, projects={"demo": keyless})
    async with running_gateway(settings) as gateway:
        assert await status_of(gateway, TOKEN) == 404
        assert await status_of(gateway, "/demo") == 200

"""Rates of REST and of upgrades: who is over one is told so and when to come again; others notice nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from gateway.http import refusals
from gateway.http.timings import HttpTimings
from gateway.timings import Timings
from realtime.errors import Code
from realtime.settings.config import Limits, Settings, load
from tests.clean_log import logged
from tests.expressions import value
from tests.gateway_fixture import Gateway, eventually, running_gateway, settings_for, token_for
from tests.limits_fixture import toml

HERE = ["127.0.0.0/8"]
TOO_FAST = ("rate_limited", 4429)
Limited = Callable[..., AbstractAsyncContextManager[Gateway]]


@pytest.fixture
def timings() -> Timings:
    return Timings(http=HttpTimings(penalty_seconds=0.01))


@pytest.fixture
def limited(database_url: str, redis_url: str, timings: Timings) -> Limited:
    """Run a gateway whose projects have these limits, behind a proxy on this machine."""

    @asynccontextmanager
    async def run(timings: Timings = timings, **limits: Any) -> AsyncIterator[Gateway]:
        settings = settings_for(database_url, redis_url, limits=Limits(**limits), trusted_proxies=HERE)
        async with running_gateway(settings, timings=timings) as gateway:
            await eventually(gateway.is_ready)
            yield gateway

    return run


def via(address: str) -> dict[str, Any]:
    return {"headers": {"X-Forwarded-For": address}}


async def statuses(gateway: Gateway, count: int, path="/status", token=None, address="192.0.2.1", **more):
    return [(await gateway.rest("GET", path, token, **via(address), **more))[0] for _ in range(count)]


async def refusal(
    gateway: Gateway, token: str, address="192.0.2.1", project="demo"
) -> tuple[str, int] | None:
    """How a client is refused; None if it is let in."""
    async with gateway.socket(project, token, **via(address)) as client:
        error = await client.hear()
        return (error["code"], await client.hear_close()) if error["type"] == "error" else None


async def test_an_address_that_asks_too_often_is_told_so_whatever_it_asks_and_others_are_not(limited):
    async with limited(requests_per_second_per_ip=0.01) as gateway:
        assert await statuses(gateway, 1, token="nonsense") == [401]
        assert await statuses(gateway, 1, token=token_for()) == [429]
        for path in ("/status", "/presence", "/nowhere", "/enable", "/broadcast"):
            assert await statuses(gateway, 1, path) == [429]
        preflight = {
            "Origin": "https://x",
            "Access-Control-Request-Method": "GET",
            **via("192.0.2.1")["headers"],
        }
        assert (await gateway.rest("OPTIONS", "/status", headers=preflight))[0] == 429
        assert await statuses(gateway, 1, token=token_for(), address="192.0.2.2") == [200]
        assert await statuses(gateway, 1, token=token_for("other"), project="other") == [200]
        assert await refusal(gateway, token_for()) is None
        assert await gateway.is_ready()


async def test_it_is_told_when_to_come_again(limited):
    async with limited(requests_per_second_per_ip=0.5) as gateway:
        await statuses(gateway, 1)
        status, body, headers = await gateway.rest("GET", "/status", **via("192.0.2.1"))
        assert (status, body["error"]["code"]) == (429, "rate_limited")
        assert headers["Retry-After"] in ("1", "2")  # of 2 s some may be over
        await eventually(lambda: is_let_through(gateway))


async def is_let_through(gateway: Gateway) -> bool:
    return await statuses(gateway, 1) == [401]


async def test_a_token_that_asks_too_often_is_told_so_wherever_it_comes_from(limited):
    async with limited(requests_per_second_per_token=0.01) as gateway:
        one, other = token_for(), token_for(sub="bob")
        assert await statuses(gateway, 1, token=one, address="192.0.2.1") == [200]
        assert await statuses(gateway, 1, token=one, address="192.0.2.2") == [429]
        assert await statuses(gateway, 1, token=other, address="192.0.2.1") == [200]
        assert await statuses(gateway, 3, token=one[:-3], address="192.0.2.1") == [401] * 3


async def test_an_ipv6_network_is_one_address(limited):
    async with limited(requests_per_second_per_ip=0.01) as gateway:
        assert await statuses(gateway, 1, address="2001:db8::1") == [401]
        assert await statuses(gateway, 1, address="2001:db8::ffff:2") == [429]
        assert await statuses(gateway, 1, address="2001:db8:0:1::1") == [401]


async def test_an_address_that_no_proxy_vouches_for_cannot_be_chosen(database_url, redis_url):
    settings = settings_for(database_url, redis_url, limits=Limits(requests_per_second_per_ip=0.01))
    async with running_gateway(settings) as gateway:
        assert await statuses(gateway, 1, address="192.0.2.1") == [401]
        assert await statuses(gateway, 1, address="192.0.2.2") == [429]


async def test_requests_that_name_no_project_have_the_common_rates(database_url, redis_url):
    common = toml(database_url, redis_url, common="requests_per_second_per_ip = 0.01")
    async with running_gateway(load(common, {})) as gateway:
        assert await statuses(gateway, 1, project="nowhere") == [404]
        assert await statuses(gateway, 1, project="elsewhere") == [429]
        assert await statuses(gateway, 1) == [401]


async def test_upgrades_of_an_address_have_a_rate_if_it_is_set(limited):
    async with limited(upgrades_per_second_per_ip=0.01) as gateway:
        assert await refusal(gateway, token_for()) is None
        assert await refusal(gateway, token_for()) == TOO_FAST
        assert await refusal(gateway, token_for(), "192.0.2.2") is None
        assert await statuses(gateway, 3, token=token_for()) == [200] * 3


WRONG = {
    "a made-up token": ("nonsense", "demo"),
    "no token": ("", "demo"),
    "a token of another project": (token_for("other"), "demo"),
    "a project that there is not": (token_for(), "nowhere"),
}


@pytest.mark.parametrize(("token", "project"), WRONG.values(), ids=WRONG)
async def test_who_is_refused_again_and_again_is_told_so_and_its_neighbours_get_in(limited, token, project):
    async with limited(refused_upgrades_per_second_per_ip=0.01) as gateway:
        found = [await refusal(gateway, token, project=project) for _ in range(3)]
        if project == "demo":
            assert found == [("unauthorized", 4401), TOO_FAST, TOO_FAST]
        else:  # has the common rates
            assert found == [("not_found", 4404)] * 3
        assert await refusal(gateway, token_for()) is None
        assert await refusal(gateway, token_for(ttl=-60)) == ("token_expired", 4401)
        assert await refusal(gateway, "nonsense", "192.0.2.2") == ("unauthorized", 4401)


async def test_what_is_no_upgrade_counts_as_one_that_is_refused(limited):
    async with limited(refused_upgrades_per_second_per_ip=0.01) as gateway:
        assert await statuses(gateway, 3, "/ws", token_for()) == [400, 429, 429]


async def test_a_refusal_for_a_rate_comes_after_a_moment_but_not_for_too_many(limited):
    slow = Timings(http=HttpTimings(penalty_seconds=3_600.0, max_delayed=2))
    async with limited(slow, requests_per_second_per_ip=0.01) as gateway:
        await statuses(gateway, 1)
        held_up = [asyncio.create_task(statuses(gateway, 1), name="held up") for _ in range(3)]
        done, pending = await asyncio.wait(held_up, return_when=asyncio.FIRST_COMPLETED, timeout=30)
        assert [task.result() for task in done] == [[429]]
        assert len(pending) == 2
        for task in pending:
            task.cancel()
        await asyncio.wait(pending)


def counted(**labels: str) -> float:
    return value("realtime_gateway_refusals_total", **labels)


async def test_openings_and_refusals_are_counted(gateway):
    opened = {"project": "demo"}
    labels = [
        {"project": "demo", "door": "websocket", "code": "unauthorized"},
        {"project": "demo", "door": "rest", "code": "unauthorized"},
        {"project": "", "door": "websocket", "code": "not_found"},
        {"project": "", "door": "rest", "code": "not_found"},
        {"project": "demo", "door": "rest", "code": "method_not_allowed"},
    ]
    before = [counted(**one) for one in labels], value("realtime_gateway_opened_connections_total", **opened)
    async with gateway.client():
        pass
    async with gateway.socket(token="x") as client:
        await client.is_refused()
    async with gateway.socket("nowhere", "x") as client:
        await client.is_refused()
    await gateway.rest("GET", "/status")
    await gateway.rest("GET", "/status", project="nowhere")
    await gateway.rest("PUT", "/status")
    assert [counted(**one) for one in labels] == [one + 1 for one in before[0]]
    assert value("realtime_gateway_opened_connections_total", **opened) == before[1] + 1


@pytest.fixture
async def behind_proxy(database_url: str, redis_url: str, timings: Timings) -> AsyncIterator[Gateway]:
    settings: Settings = settings_for(database_url, redis_url, trusted_proxies=HERE)
    async with running_gateway(settings, timings=timings) as gateway:
        yield gateway


async def test_the_first_refusal_of_a_kind_and_address_is_logged(behind_proxy, caplog):
    with caplog.at_level(logging.INFO):
        for address in ["192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"]:
            for _ in range(2):
                assert await refusal(behind_proxy, "nonsense", address) == ("unauthorized", 4401)
                await statuses(behind_proxy, 1, address=address)
        await statuses(behind_proxy, 1, "/nowhere")
    told = [(one["door"], one["code"], one["address"]) for one in logged(caplog, "refusals_began")]
    assert told == [
        (door, "unauthorized", address)
        for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1")
        for door in ("websocket", "rest")
    ] + [("rest", "not_found", "192.0.2.1")]
    assert logged(caplog, "request_refused") == []


async def test_what_is_logged_of_refusals_has_a_bound(caplog):
    seen = refusals.Refusals(0.0, max_remembered=50)
    with caplog.at_level(logging.INFO):
        for number in range(1_000):
            seen.note(refusals.Surface.REST, None, Code.NOT_FOUND, f"192.0.{number // 256}.{number % 256}")
    assert len(logged(caplog, "refusals_began")) <= refusals.LOGGED_AT_ONCE + 10
    assert repr(seen) == "<Refusals of 50 kinds and addresses>"

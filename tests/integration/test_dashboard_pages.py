"""The dashboard in a real browser: the pages Overview, Connections and Settings."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from playwright.async_api import Page, Route, expect

from gateway.timestamps import rfc3339
from realtime.settings.config import Limits
from tests.browser_fixture import Tabs
from tests.dashboard_fixture import REFUSED, address, alerted, service
from tests.gateway_fixture import SECRET, Gateway, running_gateway, settings_for, token_for

HOSTILE = ["<img src=x onerror=alert(1)>", "x" * 65_536, "\u202ereversed", "alice"]
NODE: dict[str, Any] = {
    "id": "node-1",
    "version": "1.0",
    "started_at": rfc3339(1_700_000_000),
    "draining": False,
    "connections": 3,
    "subscriptions": 4,
    "channels": 2,
    "messages_in": 10,
    "messages_out": 1_000,
    "bytes_out": 1,
    "queue_bytes": 0,
    "slow_consumers": 0,
    "errors": 0,
}
NOTIFIER = {"status": "live", "node": "notifier-1", "pending": 0, "lag_seconds": 0.02, "changes": 5}


async def answer(page: Page, path: str, body: Any) -> None:
    """Answer GET requests to an endpoint of the project; `body` may be a function."""

    async def fulfil(route: Route) -> None:
        await route.fulfill(json=body() if callable(body) else body)

    await page.route(f"**/realtime{path}*", fulfil)


def stats(*, nodes: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    known = {"timestamp": rfc3339(time.time()), "nodes": [NODE] if nodes is None else nodes}
    return {**known, "notifier": NOTIFIER, "problems": [], **more}


async def test_an_ordinary_token_sees_what_it_may_and_reads_what_needs_more(
    gateway: Gateway, tabs: Tabs
) -> None:
    page = await tabs.open(address(gateway, token_for()))
    await expect(page.get_by_text("Clients connected")).to_be_visible()
    for name in ("Overview", "Connections", "Settings"):
        await page.get_by_role("link", name=name).click()
        await expect(page.get_by_text("needs a token with the role service_role")).to_be_visible()
    assert not [url for url in tabs.requested if url.endswith(("/stats", "/clients", "/settings"))]


async def test_overview_says_first_what_is_wrong_and_what_to_do(gateway: Gateway, tabs: Tabs) -> None:
    tabs.expected = (REFUSED,)
    problems: list[dict[str, str]] = []
    page = await tabs.open()
    await answer(page, "/stats", lambda: stats(problems=problems))
    await page.goto(address(gateway, service()))
    await expect(page.get_by_text("Everything works.")).to_be_visible()
    problem = {
        "code": "no_notifier",
        "severity": "error",
        "message": "no notifier leads",
        "action": "start one",
    }
    problems[:] = [{**problem, "docs": "docs/operations.md#look-first"}]
    await alerted(page, "No notifier leads.")
    await alerted(page, "Start one.")
    problems.clear()
    await expect(page.get_by_text("Everything works.")).to_be_visible()
    await page.route("**/realtime/stats", lambda route: route.abort())
    await alerted(page, "This node cannot be reached.")
    await page.unroute("**/realtime/stats")
    await expect(page.get_by_text("This node cannot be reached.")).to_have_count(0, timeout=60_000)


async def test_rates_come_from_counters_and_a_node_that_begins_anew_makes_no_negative_rate(
    gateway: Gateway, tabs: Tabs
) -> None:
    page = await tabs.open(f"{gateway.url}/dashboard")
    begun = {**NODE, "started_at": rfc3339(1_700_000_100), "messages_out": 5}
    answers = [
        stats(timestamp=rfc3339(1_000), nodes=[NODE]),
        stats(timestamp=rfc3339(1_001), nodes=[{**NODE, "messages_out": 1_500}]),
        stats(timestamp=rfc3339(1_001), nodes=[{**NODE, "messages_out": 9_999}]),  # the same answer again
        stats(timestamp=rfc3339(1_002), nodes=[begun]),
        stats(timestamp=rfc3339(1_003), nodes=[{**begun, "messages_out": 25}]),
        stats(timestamp=rfc3339(1_060), nodes=[{**begun, "messages_out": 30}]),  # after a while
        stats(timestamp=rfc3339(1_061), nodes=[]),
    ]
    points = await page.evaluate(
        """async (answers) => {
            const { emptyHistory, withAnswer } = await import("/dashboard/stats.js")
            return answers.reduce(withAnswer, emptyHistory()).points
        }""",
        answers,
    )
    assert [point["deliveries"] for point in points] == [None, 500, None, 20, None, None, None]
    assert [point["connections"] for point in points] == [3, 3, 3, 3, None, 3, None]


async def test_hostile_text_is_text(gateway: Gateway, tabs: Tabs) -> None:
    now = rfc3339(time.time())
    clients = [
        {
            **{
                "connection_id": f"id-{number}",
                "user_id": text,
                "role": text,
                "ip": text,
                "user_agent": text,
            },
            **{"node": text, "connected_at": now, "expires_at": now, "subscriptions": [text]},
            **{"queue_bytes": 0, "messages_in": 1, "messages_out": 2},
        }
        for number, text in enumerate(HOSTILE)
    ]
    page = await tabs.open()
    await answer(page, "/clients", {"clients": clients, "next": None})
    await page.goto(address(gateway, service()))
    await page.get_by_role("link", name="Connections").click()
    table = page.get_by_role("table", name="Connections")
    await expect(table.get_by_role("button", name="Disconnect")).to_have_count(len(HOSTILE))
    await expect(table.get_by_text(HOSTILE[0]).first).to_be_visible()
    assert await page.locator("main img").count() == 0
    assert len(await table.inner_text()) < 2_000
    for number in range(len(HOSTILE)):
        await page.evaluate("id => { location.hash = `/connections/${id}` }", f"id-{number}")
        await expect(page.get_by_text(f"id-{number}", exact=True)).to_be_visible()
        await expect(page.get_by_role("heading", name="Now", exact=True)).to_be_visible()
        assert await page.locator("main img").count() == 0
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_names_in_sentences_and_in_sql_change_no_direction(gateway: Gateway, tabs: Tabs) -> None:
    problem = {"code": "x", "severity": "error", "message": "table \u202eevil", "action": "see \u2066it"}
    page = await tabs.open()
    await answer(page, "/stats", stats(problems=[problem]))
    await page.goto(address(gateway, service()))
    await alerted(page, r"Table \u202eevil.")
    await alerted(page, r"See \u2066it.")
    async with gateway.client(token_for(sub="bob\u202e")):
        await page.get_by_role("link", name="Connections").click()
        await page.get_by_role("searchbox", name="User").fill("bob\u202e")
        await page.get_by_role("button", name=r"Close all of bob\u202e").click()
        await expect(page.get_by_role("dialog", name=r"Disconnect all of bob\u202e?")).to_be_visible()
        await page.keyboard.press("Escape")
    table = {"schema": "public", "table_name": "t", "enabled": False, "events": [], "primary_key": []}
    await answer(page, "/tables", {"tables": [{**table, "columns": [{"name": "a", "type": "text"}]}]})
    await answer(page, "/enable/preview", {"sql": "select 'a\u202eb';\ncommit;\n"})
    await page.get_by_role("link", name="Tables").click()
    await page.get_by_role("button", name="Show SQL").click()
    await expect(page.get_by_role("region", name="SQL")).to_have_text("select 'a\\u202eb';\ncommit;\n")


async def test_a_page_that_cannot_be_drawn_says_so_and_the_others_go_on(gateway: Gateway, tabs: Tabs) -> None:
    tabs.expected = ("Cannot read properties",)
    clients: list[dict[str, Any]] = [{"connection_id": "odd"}]
    page = await tabs.open()
    await answer(page, "/clients", lambda: {"clients": clients, "next": None})
    await page.goto(address(gateway, service()))
    await page.get_by_role("link", name="Connections").click()
    await alerted(page, "This page cannot be drawn.")
    await page.get_by_role("link", name="Overview").click()
    await expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    await expect(page.get_by_text("This page cannot be drawn.")).to_have_count(0)
    await page.get_by_role("link", name="Connections").click()
    await alerted(page, "This page cannot be drawn.")
    clients.clear()
    await page.get_by_role("button", name="Draw it again").click()
    await expect(page.get_by_text("Nobody is connected")).to_be_visible()


async def test_a_pause_that_is_longer_than_a_timer_can_be_is_a_short_one(
    gateway: Gateway, tabs: Tabs
) -> None:
    tabs.expected = (REFUSED,)
    page = await tabs.open(f"{gateway.url}/dashboard")
    told = iter(("2592000", "7", "Wed, 21 Oct 2026 07:28:00 GMT"))

    async def refuse(route: Route) -> None:
        await route.fulfill(status=503, headers={"Retry-After": next(told)}, body="maintenance")

    await page.route("**/realtime/status", refuse)
    for taken in (300, 7, 0):
        found = await page.evaluate(
            """async () => {
                const { check } = await import("/dashboard/api.js")
                const { code, retrySeconds } = await check("demo", "t").catch((error) => error)
                return [code, retrySeconds]
            }"""
        )
        assert found == ["bad_answer", taken]


async def test_a_client_is_disconnected_at_once_and_all_of_a_user_after_a_question(
    gateway: Gateway, tabs: Tabs
) -> None:
    page = await tabs.open(address(gateway, service()))
    await page.get_by_role("link", name="Connections").click()
    rows = page.get_by_role("table", name="Connections").get_by_role("row")
    async with gateway.client(token_for(sub="alice")) as alice, gateway.client(token_for(sub="bob")) as bob:
        row = rows.filter(has_text="alice")
        end = asyncio.create_task(alice.is_refused())
        await row.get_by_role("button", name="Disconnect").click()
        await expect(page.get_by_text("One connection was closed.")).to_be_visible()
        assert await end == ("disconnected", 4410)
        await expect(row).to_have_count(0)
        await expect(rows.filter(has_text="bob")).to_have_count(1)
        async with gateway.client(token_for(sub="bob")) as again:
            await page.get_by_label("User").fill("bob")
            await expect(rows.filter(has_text="bob")).to_have_count(2)
            await page.get_by_role("button", name="Close all of bob").click()
            dialog = page.get_by_role("dialog", name="Disconnect all of bob?")
            await dialog.get_by_role("button", name="Cancel").click()
            await expect(dialog).to_have_count(0)
            await page.get_by_role("button", name="Close all of bob").click()
            ends = [asyncio.create_task(client.is_sent_away()) for client in (bob, again)]
            await dialog.get_by_label("Let it come back at once").check()
            await dialog.get_by_role("button", name="Disconnect").click()
            closed = page.get_by_text("2 connections were closed, and asked to come back.")
            await expect(closed).to_be_visible()
            assert [await end for end in ends] == [1012, 1012]
    recorded = page.get_by_role("table", name="History").get_by_text("disconnect 1012")
    await expect(recorded).to_have_count(2, timeout=30_000)


async def test_settings_show_first_what_differs(database_url: str, redis_url: str, tabs: Tabs) -> None:
    limits = Limits(max_connections_per_user=7)
    async with running_gateway(settings_for(database_url, redis_url, limits=limits)) as gateway:
        page = await tabs.open(address(gateway, service()))
        await page.get_by_role("link", name="Settings").click()
        differing = page.get_by_role("table", name="Differs from the default").get_by_role("row")
        await expect(differing.filter(has_text="max_connections_per_user")).to_contain_text("7")
        await page.get_by_label("Name").fill("slow_consumer")
        await expect(page.get_by_role("table", name="Limits").get_by_role("row")).to_have_count(2)
        assert SECRET not in await page.content()


async def test_the_life_of_a_connection_is_told_in_words(gateway: Gateway, tabs: Tabs) -> None:
    async with gateway.client(headers={"User-Agent": "Test/1.0"}) as client:
        connection_id = client.connected["connection_id"]
    page = await tabs.open(address(gateway, service()))
    await page.get_by_role("link", name="Connections").click()
    history = page.get_by_role("table", name="History")
    await expect(history.get_by_text("disconnect 1000")).to_be_visible()
    await history.get_by_role("link", name=connection_id).first.click()
    await expect(page.get_by_text("alice connected from 127.0.0.1 with Test/1.0")).to_be_visible()
    await expect(page.get_by_text("The client closed it")).to_be_visible()
    await page.goto(f"{gateway.url}/dashboard#/connections/never-seen?user=alice")
    await expect(page.get_by_text("Nothing is known of this connection")).to_be_visible()

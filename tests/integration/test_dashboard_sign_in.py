"""The dashboard in a real browser: signing in, the end of a token, and how one moves between the pages."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from playwright.async_api import Page, Route, expect

from tests.browser_fixture import Tabs
from tests.dashboard_fixture import REFUSED, address, alerted, is_in, service
from tests.gateway_fixture import Gateway, eventually, token_for

PAGES = ["Overview", "Tables", "Live", "Presence", "Broadcast", "Connections", "Settings"]


async def test_one_signs_in_by_the_form_and_out_again(gateway: Gateway, tabs: Tabs) -> None:
    page = await tabs.open(f"{gateway.url}/dashboard")
    tabs.expected = (REFUSED,)
    form = page.get_by_role("form", name="Sign in")
    for project, token, said in [
        ("", service(), "Enter the id"),
        ("../demo", service(), "A project id has"),
        ("demo", "", "Enter a token"),
        ("demo", "a token", "was refused"),
        ("demo", token_for(ttl=-60), "has expired"),
        ("nowhere", service(), "no project of that name"),
    ]:
        await form.get_by_label("Project").fill(project)
        await form.get_by_label("Token").fill(token)
        await form.get_by_role("button", name="Sign in").click()
        await alerted(page, said)
    await form.get_by_label("Project").fill(" demo ")
    await form.get_by_label("Token").fill(f"Bearer {service()}\n")
    await form.get_by_label("Token").press("Enter")
    await is_in(page)
    links = page.get_by_role("navigation").get_by_role("link")
    assert await links.all_inner_texts() == PAGES
    for name in PAGES:
        await page.get_by_role("link", name=name).click()
        await expect(page.get_by_role("heading", level=1)).to_have_text(name)
        await expect(page.get_by_role("link", name=name)).to_have_attribute("aria-current", "page")
        await expect(page).to_have_title(f"{name} · Realtime")
    await page.get_by_role("button", name="Sign out").click()
    await expect(form).to_be_visible()
    assert await page.evaluate("JSON.stringify({...sessionStorage, ...localStorage})") == "{}"


async def test_a_fragment_signs_in_and_leaves_the_address_and_the_token_stays_in_the_tab(
    gateway: Gateway, tabs: Tabs
) -> None:
    token = service()
    page = await tabs.open(address(gateway, token))
    await is_in(page)
    assert await page.evaluate("location.href") == f"{gateway.url}/dashboard#/overview"
    await page.reload()
    await is_in(page)
    await page.go_back()
    assert token not in page.url
    assert not any(token in url.split("#")[0] for url in tabs.requested)
    other = await tabs.open(f"{gateway.url}/dashboard")
    await expect(other.get_by_role("form", name="Sign in")).to_be_visible()


async def test_a_fragment_in_an_open_tab_takes_the_place_of_who_was_in(gateway: Gateway, tabs: Tabs) -> None:
    page = await tabs.open(address(gateway, token_for(sub="alice")))
    await is_in(page)
    await page.evaluate("token => { location.hash = `project=demo&token=${token}` }", token_for(sub="bob"))
    await expect(page.get_by_text("bob", exact=True)).to_be_visible()
    assert "token" not in await page.evaluate("location.href")


async def test_a_token_that_runs_out_leads_to_the_form_with_the_reason(gateway: Gateway, tabs: Tabs) -> None:
    tabs.expected = (REFUSED,)
    page = await tabs.open(address(gateway, token_for(ttl=-60)))
    await alerted(page, "has expired")
    await page.goto("about:blank")
    await page.goto(address(gateway, token_for(ttl=8)))
    await is_in(page)
    await expect(page.get_by_text("Your token ends in")).to_be_visible(timeout=30_000)
    await alerted(page, "has expired")
    await expect(page.get_by_role("form", name="Sign in")).to_be_visible()


async def test_a_token_that_the_server_refuses_later_leads_to_the_form(gateway: Gateway, tabs: Tabs) -> None:
    tabs.expected = (REFUSED,)
    page = await tabs.open(address(gateway, token_for()))
    await is_in(page)

    async def refuse(route: Route) -> None:
        await route.fulfill(
            status=401, json={"error": {"code": "unauthorized", "message": "the key is gone"}}
        )

    await page.route("**/realtime/status", refuse)
    await alerted(page, "the key is gone")


@asynccontextmanager
async def behind_a_prefix(gateway: Gateway) -> AsyncIterator[str]:
    """A proxy that serves a node below /some/prefix; yield that address."""

    async def forward(request: web.Request) -> web.Response:
        url = f"{gateway.url}/{request.match_info['path']}"
        kept = {name: text for name, text in request.headers.items() if name == "Authorization"}
        async with http.request(request.method, url, headers=kept, params=request.query) as response:
            body, headers = await response.read(), response.headers
        own = {name: headers[name] for name in ("Content-Type", "Content-Security-Policy") if name in headers}
        return web.Response(status=response.status, body=body, headers=own)

    app = web.Application()
    app.router.add_route("*", "/some/prefix/{path:.*}", forward)
    async with ClientSession() as http, TestServer(app) as server:
        yield str(server.make_url("/some/prefix"))


async def test_it_works_below_a_prefix_of_a_proxy(gateway: Gateway, tabs: Tabs) -> None:
    async with behind_a_prefix(gateway) as url:
        page = await tabs.open(f"{url}/dashboard#project=demo&token={token_for()}")
        await expect(page.get_by_text("Clients connected")).to_be_visible()
        assert all(one.startswith(url) for one in tabs.requested)


@pytest.mark.parametrize("tabs", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
async def test_on_a_narrow_page_the_navigation_stands_behind_a_button(gateway: Gateway, tabs: Tabs) -> None:
    page = await tabs.open(address(gateway, token_for()))
    menu = page.get_by_role("button", name="Menu")
    await expect(menu).to_have_attribute("aria-expanded", "false")
    await expect(page.get_by_role("link", name="Settings")).to_be_hidden()
    await menu.click()
    await page.get_by_role("link", name="Settings").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Settings")
    await expect(page.get_by_role("link", name="Settings")).to_be_hidden()
    await menu.click()
    await page.keyboard.press("Escape")
    await expect(menu).to_be_focused()
    for name in PAGES:
        await page.evaluate("name => { location.hash = `/${name.toLowerCase()}` }", name)
        await expect(page.get_by_role("heading", level=1)).to_have_text(name)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name


async def test_a_page_can_be_used_by_keyboard(gateway: Gateway, tabs: Tabs) -> None:
    page = await tabs.open(f"{gateway.url}/dashboard")
    await page.get_by_label("Project").fill("demo")
    await page.keyboard.press("Tab")
    await page.keyboard.insert_text(token_for())
    await page.keyboard.press("Enter")
    await is_in(page)
    await expect(page.get_by_role("heading", level=1, name="Overview")).to_be_focused(timeout=30_000)
    focused = "document.activeElement.textContent.trim()"
    # The navigation stands before the page.
    for name in ("Sign out", *reversed(PAGES), "Skip to the page"):
        await page.keyboard.press("Shift+Tab")
        await eventually(lambda name=name: _is(page, focused, name))
    for name in PAGES[:2]:
        await page.keyboard.press("Tab")
        await eventually(lambda name=name: _is(page, focused, name))
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1, name="Tables")).to_be_focused()


async def _is(page: Page, expression: str, value: object) -> bool:
    found = await page.evaluate(expression)
    return json.dumps(found) == json.dumps(value)

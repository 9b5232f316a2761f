"""The page Presence in a real browser: people, tabs, comings and goings, large lists, a lost connection."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Locator, Page, WebSocketRoute, expect

from realtime.auth.tokens import issue
from tests.acceptance.dashboard_pages import go
from tests.acceptance.programs import Dev, client_of
from tests.browser_fixture import Tabs
from tests.gateway_fixture import Client

pytestmark = pytest.mark.standalone  # `realtime dev` brings its own Valkey, which is one server

HOSTILE = ["<img src=x onerror=alert(1)>", "\u202ereversed", "x" * 2_000, "عائشة"]


async def opened(dev: Dev, tabs: Tabs, channel: str | None = None, token: str | None = None) -> Page:
    page = await tabs.open()
    await page.goto(f"{dev.url}/dashboard#project=demo&token={token or dev.token}")
    await go(page, "Presence")
    if channel:
        await page.get_by_label("Channel").fill(channel)
    await expect(page.get_by_label("Channel")).to_be_editable()
    return page


def people(page: Page) -> Locator:
    return page.get_by_role("list", name="People").get_by_role("listitem")


def timeline(page: Page) -> Locator:
    return page.get_by_role("list", name="Timeline").get_by_role("listitem")


async def counted(page: Page, text: str) -> None:
    await expect(page.get_by_role("status").filter(has_text=text)).to_be_visible()


@asynccontextmanager
async def present(
    dev: Dev, user: str | None, state: Any, channel: str | None = None
) -> AsyncIterator[Client]:
    """A client of a user that is present."""
    secret = (dev.program.directory / "data" / "jwt-secret").read_text().strip()
    token = issue(secret, "demo", user, "authenticated", 600, time.time())
    async with client_of(dev.url, token) as client:
        await say(client, state, channel)
        yield client


async def say(client: Client, state: Any, channel: str | None = None) -> None:
    scope = {"channel": channel} if channel else {}
    assert (await client.ask(type="presence", state=state, ref=1, **scope))["type"] == "ack"


async def test_tabs_of_a_user_stand_together_and_comings_and_goings_are_told(dev: Dev, tabs: Tabs) -> None:
    room = "room:tabs"
    async with present(dev, "ann", {"name": "Ann"}, room):
        page = await opened(dev, tabs, room)
        await expect(people(page)).to_have_count(1)
        await expect(people(page).first).to_contain_text('{"name":"Ann"}')
        await expect(page.get_by_text("Nobody came or went yet.")).to_be_visible()
        async with (
            present(dev, "bob", {}, room),
            present(dev, "ann", {"name": "Ann", "tab": 2}, room) as second,
        ):
            await counted(page, "2 people, 3 connections")
            await expect(people(page)).to_have_count(2)
            ann = people(page).filter(has_text="ann")
            await expect(ann).to_contain_text("2 tabs")
            await expect(ann).to_contain_text('{"name":"Ann","tab":2}')
            await ann.get_by_text("2 connections").click()
            await expect(ann.get_by_role("group", name="State")).to_have_count(2)
            await expect(timeline(page)).to_contain_text(["ann opened tab 2", "bob joined"])
            await say(second, {"away": True}, room)
            await expect(timeline(page).first).to_contain_text('ann changed the state {"away":true}')
        await counted(page, "1 person, 1 connection")
        await expect(timeline(page)).to_have_count(5)
        assert {"bob left", "ann closed a tab, 1 left"} <= {
            (await timeline(page).nth(index).inner_text()).split("\n")[-1].strip() for index in (0, 1)
        }
    await expect(page.get_by_text("Nobody is there")).to_be_visible()
    await expect(timeline(page).first).to_contain_text("ann left")


async def test_an_empty_channel_is_the_project_and_people_without_a_name_stand_alone(
    dev: Dev, tabs: Tabs
) -> None:
    page = await opened(dev, tabs)
    await expect(page.get_by_text("Nobody is there")).to_be_visible()
    async with present(dev, None, {"n": 1}), present(dev, None, {"n": 2}) as other:
        await expect(people(page)).to_have_count(2)
        await expect(people(page).filter(has_text=other.connected["connection_id"])).to_contain_text(
            "no user id"
        )
        await page.get_by_label("Channel").fill("presence:room:elsewhere")
        await expect(page.get_by_text("Nobody is there")).to_be_visible()
        await expect(page).to_have_url(f"{dev.url}/dashboard#/presence?channel=room%3Aelsewhere")
        await page.get_by_label("Channel").fill("")
        await expect(people(page)).to_have_count(2)


async def test_the_dashboard_may_be_present_itself_until_it_leaves(dev: Dev, tabs: Tabs) -> None:
    page = await opened(dev, tabs, "room:operator")
    state = page.get_by_role("textbox", name="State")
    await state.fill('{"name": ')
    await expect(page.get_by_role("alert")).to_contain_text("This is no JSON")
    await state.fill("[1]")
    await expect(page.get_by_role("alert")).to_contain_text("A state is an object")
    await state.fill(json.dumps({"text": "x" * 5_000}))
    await page.get_by_role("button", name="Be present").click()
    await expect(page.get_by_role("alert")).to_contain_text("4096")
    await state.fill('{"name": "operator"}')
    await page.get_by_role("button", name="Be present").click()
    await expect(people(page)).to_contain_text(["alice"])
    await expect(people(page)).to_contain_text(["this page"])
    await expect(people(page)).to_contain_text(['{"name":"operator"}'])
    await state.fill('{"name": "away"}')
    await page.get_by_role("button", name="Change the state").click()
    await expect(people(page)).to_contain_text(['{"name":"away"}'])
    # It holds while one looks at another page.
    await go(page, "Settings")
    await go(page, "Presence")
    await page.get_by_label("Channel").fill("room:operator")
    await page.get_by_role("button", name="Leave").click()
    await expect(page.get_by_text("Nobody is there")).to_be_visible()
    await expect(page.get_by_role("button", name="Be present")).to_be_visible()


async def test_what_is_no_channel_is_said_beside_the_field(dev: Dev, tabs: Tabs) -> None:
    page = await opened(dev, tabs, "lobby")
    await expect(page.get_by_text("Press Enter to look there")).to_be_visible()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("'lobby' is not a channel")
    await expect(page.get_by_label("Channel")).to_have_attribute("aria-invalid", "true")
    await page.get_by_label("Channel").fill("room:lobby")
    await expect(page.get_by_role("alert")).to_have_count(0)


async def test_hostile_names_and_states_are_text(dev: Dev, tabs: Tabs) -> None:
    room = "room:hostile"
    async with AsyncExitStack() as stack:
        page = await opened(dev, tabs, room)
        for user in HOSTILE:
            await stack.enter_async_context(present(dev, user, {user[:20]: "y" * 3_000}, room))
        await counted(page, "4 people")
        await expect(people(page)).to_have_count(4)
        await expect(people(page).filter(has_text=HOSTILE[0])).to_have_count(1)
        assert await page.locator("main img").count() == 0
        assert len(await page.get_by_role("list", name="People").inner_text()) < 4_000
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def entry(number: int, **more: Any) -> dict[str, Any]:
    at = f"2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}.000000Z"
    known = {"connection_id": f"c{number}", "user_id": f"user-{number}", "state": {"n": number}}
    return {**known, "joined_at": at, "updated_at": at, **more}


class Service:
    """Stands in for the service on a WebSocket: says who is present in the project."""

    def __init__(self, presences: list[dict[str, Any]]) -> None:
        self.presences = presences
        self.sockets: list[WebSocketRoute] = []

    def __call__(self, web_socket: WebSocketRoute) -> None:
        self.sockets.append(web_socket)
        web_socket.on_message(lambda text: self._answer(web_socket, json.loads(text)))
        expires = "2099-01-01T00:00:00.000000Z"
        connected = {
            "connection_id": "c-page",
            "project_id": "demo",
            "user_id": "alice",
            "heartbeat_seconds": 25,
        }
        web_socket.send(json.dumps({"type": "connected", **connected, "expires_at": expires}))

    def _answer(self, web_socket: WebSocketRoute, message: dict[str, Any]) -> None:
        if message["type"] != "subscribe":
            return
        about = {"channel": "presence", "ref": message["ref"]}
        web_socket.send(json.dumps({"type": "subscribed", **about, "position": "1-1", "recovered": False}))
        for start in range(0, len(self.presences), 1_000):
            more = start + 1_000 < len(self.presences)
            self.send("sync", self.presences[start : start + 1_000], more=more)

    def send(self, event: str, presences: list[dict[str, Any]], **more: Any) -> None:
        about = {"type": "presence", "channel": "presence", "event": event}
        self.sockets[-1].send(json.dumps({**about, "presences": presences, **more}))


async def with_service(dev: Dev, tabs: Tabs, service: Service) -> Page:
    page = await tabs.open()
    await page.route_web_socket("**/realtime/ws*", service)
    await page.goto(f"{dev.url}/dashboard#project=demo&token={dev.token}")
    await go(page, "Presence")
    return page


async def test_ten_thousand_people_are_not_all_in_the_document(dev: Dev, tabs: Tabs) -> None:
    service = Service([entry(number) for number in range(10_000)])
    page = await with_service(dev, tabs, service)
    await counted(page, "10,000 people, 10,000 connections")
    await expect(people(page)).to_have_count(100)
    await expect(people(page).first).to_contain_text("user-9999")  # the newest first
    await page.get_by_label("Search").fill("user-123")
    await expect(people(page)).to_have_count(11)
    await page.get_by_label("Search").fill("")
    await page.get_by_role("button", name="Show 100 more").click()
    await expect(people(page)).to_have_count(200)
    for start in range(10_000, 12_000, 100):
        service.send("join", [entry(number) for number in range(start, start + 100)])
    service.send("leave", service.presences[:100])
    await counted(page, "11,900 people")
    while await page.get_by_role("button", name="Show older").count():
        await page.get_by_role("button", name="Show older").click()
    await expect(timeline(page)).to_have_count(500)
    await expect(page.get_by_role("img", name="11,900 now, 12,000 at most")).to_be_visible()


async def test_a_user_with_thousands_of_connections_is_one_item(dev: Dev, tabs: Tabs) -> None:
    service = Service([entry(number, user_id="robot") for number in range(5_000)])
    page = await with_service(dev, tabs, service)
    await counted(page, "1 person, 5,000 connections")
    await expect(people(page)).to_contain_text(["5,000 tabs"])
    await people(page).get_by_text("5,000 connections").click()
    await expect(people(page).get_by_role("group", name="State")).to_have_count(50)
    service.send("leave", service.presences[1:])
    await counted(page, "1 person, 1 connection")
    await expect(people(page)).to_contain_text(['{"n":0}'])
    service.send("leave", service.presences[:1])
    await expect(page.get_by_text("Nobody is there")).to_be_visible()
    await expect(timeline(page).first).to_contain_text("robot left")


async def test_large_integers_of_a_state_are_shown_exactly(dev: Dev, tabs: Tabs) -> None:
    async with present(dev, "ann", {"n": 12345678901234567890}):
        page = await opened(dev, tabs)
        await expect(people(page)).to_contain_text(['{"n":12345678901234567890}'])


async def test_who_left_while_the_connection_was_lost_is_told(dev: Dev, tabs: Tabs) -> None:
    service = Service([entry(1), entry(2)])
    page = await with_service(dev, tabs, service)
    await expect(people(page)).to_have_count(2)
    service.presences = [entry(2), entry(3)]
    await service.sockets[0].close(code=1001)
    await expect(timeline(page)).to_contain_text(["user-3 joined", "user-1 left"])
    assert sorted(await people(page).locator("strong").all_inner_texts()) == ["user-2", "user-3"]


@pytest.mark.parametrize("tabs", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
async def test_a_narrow_page_is_not_wider_than_the_screen(dev: Dev, tabs: Tabs) -> None:
    async with present(dev, HOSTILE[2], {"text": "x" * 3_000}):
        page = await tabs.open(f"{dev.url}/dashboard#project=demo&token={dev.token}")
        await page.evaluate("location.hash = '/presence'")
        await expect(people(page)).to_have_count(1)
        await people(page).get_by_text("Details").click()
        await expect(page.get_by_role("group", name="State")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")

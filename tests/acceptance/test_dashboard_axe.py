"""axe-core looks at every page of the dashboard: in light, in dark, on a phone, empty and with hostile data.

Nothing may be logged as an error meanwhile, asked for in vain, or refused by the policy: `tabs` sees to that.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, expect

from realtime.auth.tokens import issue
from tests.acceptance.programs import START_SECONDS, Dev
from tests.browser_fixture import Tabs
from tests.docs_fixture import ROOT

pytestmark = [
    pytest.mark.standalone,  # `realtime dev` brings its own Valkey, which is one server
    # Colours that are on their way to others would be seen as too pale.
    pytest.mark.parametrize("tabs", [{"reduced_motion": "reduce"}], indirect=True, ids=["still"]),
]

AXE = ROOT / "tools" / "vendor" / "node_modules" / "axe-core" / "axe.min.js"
LOOKS: dict[str, tuple[Any, int]] = {
    "light": ("light", 1280),
    "dark": ("dark", 1280),
    "phone": ("light", 390),
}
GRAVE = ("serious", "critical")

EVIL = "<img src=x onerror=alert(1)>"
REVERSED = "\u202edesrever\u2066"
LONG = "long " * 13_000
USERS = (EVIL, REVERSED, "x" * 3_000, "عائشة")

RUN = """async () => {
    const frame = () => new Promise((done) => requestAnimationFrame(done))
    await frame()
    await frame()
    const { violations } = await axe.run(document, { resultTypes: ["violations"] })
    return violations.map(({ id, impact, nodes }) => (
        { id, impact, where: nodes.slice(0, 3).map((one) => [one.html.slice(0, 160), one.failureSummary]) }))
}"""


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core as text; only CI insists on it."""
    if not AXE.is_file():
        why = "axe-core is not installed; call: make vendor"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    return AXE.read_text()


class Looker:
    """A page that is looked at again and again; `found` is what is wrong with it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.found: list[str] = []
        self.looked = 0

    async def look(self, name: str) -> None:
        for look, (scheme, width) in LOOKS.items():
            await self.page.emulate_media(color_scheme=scheme)
            await self.page.set_viewport_size({"width": width, "height": 860})
            for violation in await self.page.evaluate(RUN):
                if violation["impact"] in GRAVE:
                    self.found.append(f"{name}, {look}: {json.dumps(violation, indent=1)}")
            if await self.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                self.found.append(f"{name}, {look}: wider than the screen")
            self.looked += 1
        if await self.page.locator("main img[src=x]").count():
            self.found.append(f"{name}: text became an image")
        await self.page.set_viewport_size({"width": 1280, "height": 860})

    async def at(self, address: str, heading: str) -> None:
        await self.page.evaluate("address => { location.hash = address }", address)
        await expect(self.page.get_by_role("heading", name=heading, level=1)).to_be_visible()


@asynccontextmanager
async def hostile_data(dev: Dev) -> AsyncIterator[None]:
    """A table, people, their programs, a channel and payloads that would be markup, endless or reversed."""
    secret = (dev.program.directory / "data" / "jwt-secret").read_text().strip()
    address = f"{dev.url}/projects/demo/realtime"
    service = {"Authorization": f"Bearer {dev.service_token}"}
    await dev.psql(f'create table "{EVIL}" (id int primary key, "{EVIL} " text, "{REVERSED}" text)')
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        async with http.post(f"{address}/enable", headers=service, json={"table_name": EVIL}) as answer:
            assert answer.status == 200, await answer.text()
        for user in USERS:
            token = issue(secret, "demo", user, "authenticated", 600, time.time())
            headers = {"Authorization": f"Bearer {token}", "User-Agent": EVIL + "y" * 3_000}
            client = await stack.enter_async_context(http.ws_connect(f"{address}/ws", headers=headers))
            for channel in (f"room:{EVIL}", f"table:{EVIL}"):
                await client.send_json({"type": "subscribe", "channel": channel})
            state = {EVIL: REVERSED, "long": "z" * 3_000}
            await client.send_json({"type": "presence", "channel": f"room:{EVIL}", "state": state, "ref": 1})
            while (await client.receive_json(timeout=START_SECONDS))["type"] != "ack":
                pass
        yield
    await dev.psql(f'drop table "{EVIL}"')


async def signed_in(dev: Dev, tabs: Tabs, axe: str, token: str) -> Looker:
    page = await tabs.open(f"{dev.url}/dashboard#project=demo&token={token}")
    await expect(page.get_by_role("navigation")).to_be_visible()
    await page.evaluate(axe)
    return Looker(page)


def the_verdict(looker: Looker, least: int) -> None:
    assert looker.looked >= least
    assert not looker.found, "\n".join(looker.found)


async def test_a_fault_would_be_found(dev: Dev, tabs: Tabs, axe: str) -> None:
    tabs.expected = ("policy", "Content Security Policy")
    page = await tabs.open(f"{dev.url}/dashboard")
    await page.evaluate(axe)
    await page.evaluate(
        """() => {
            document.querySelector("form").append(document.createElement("button"))
            document.body.append(Object.assign(document.createElement("script"), { textContent: "evil()" }))
        }"""
    )
    looker = Looker(page)
    await looker.look("sign-in")
    assert ["button-name" in one for one in looker.found] == [True] * len(LOOKS)
    assert any(one.startswith("the policy refused inline by script-src") for one in tabs.errors), tabs.errors


async def test_pages_without_data(dev: Dev, tabs: Tabs, axe: str) -> None:
    page = await tabs.open(f"{dev.url}/dashboard")
    await page.evaluate(axe)
    form = Looker(page)
    await form.look("sign-in")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await form.look("sign-in, refused")
    looker = await signed_in(dev, tabs, axe, dev.service_token)
    page = looker.page
    for address, heading, words in (
        ("#/tables?search=nothing-like-this", "Tables", "No table fits"),
        ("#/live", "Live", "Nothing is subscribed yet"),
        ("#/presence?channel=room:nobody", "Presence", "Nobody is there"),
        ("#/broadcast", "Broadcast", "Nothing has come back yet"),
        ("#/connections?user=nobody-like-this", "Connections", "Nobody like that is connected"),
        ("#/connections/no-such-connection", "One connection", "Nothing is known of this connection"),
        ("#/nowhere", None, "There is no such page"),
    ):
        await page.evaluate("address => { location.hash = address }", address)
        if heading:
            await expect(page.get_by_role("heading", name=heading, level=1)).to_be_visible()
        await expect(page.get_by_text(words)).to_be_visible()
        await looker.look(address)
    the_verdict(form, 6)
    the_verdict(looker, 21)


async def test_pages_of_a_token_without_service_role(dev: Dev, tabs: Tabs, axe: str) -> None:
    looker = await signed_in(dev, tabs, axe, dev.token)
    for address, heading in (("#/overview", "Overview"), ("#/settings", "Settings")):
        await looker.at(address, heading)
        await expect(looker.page.get_by_text("needs a token with the role service_role")).to_be_visible()
        await looker.look(address)
    the_verdict(looker, 6)


async def test_pages_with_hostile_data(dev: Dev, tabs: Tabs, axe: str) -> None:
    async with hostile_data(dev):
        looker = await signed_in(dev, tabs, axe, dev.service_token)
        for step in (overview, tables, live, broadcast, presence, connections, settings):
            await step(dev, looker)
        the_verdict(looker, 36)


async def overview(dev: Dev, looker: Looker) -> None:
    await expect(looker.page.get_by_text("Slow clients closed").first).to_be_visible()
    await looker.look("overview")


async def tables(dev: Dev, looker: Looker) -> None:
    page = looker.page
    await looker.at("#/tables", "Tables")
    switch = page.get_by_role("switch", name=f"public.{EVIL}")
    await expect(switch).to_be_checked()
    row = page.get_by_role("listitem").filter(has=switch)
    await expect(row).to_contain_text("Subscribers: 4", timeout=START_SECONDS * 1000)
    await looker.look("tables")
    await row.get_by_role("button", name="Edit").click()
    await page.get_by_role("dialog").get_by_role("button", name="Show SQL").click()
    await page.get_by_role("radio", name="Only some").check()
    await expect(page.get_by_role("button", name="Copy SQL")).to_be_visible()
    await looker.look("tables, edit")
    for _ in range(3):
        await page.get_by_role("checkbox", checked=True).and_(page.locator(".many input")).first.uncheck()
    await expect(page.get_by_role("dialog").get_by_role("alert")).to_be_visible()
    await looker.look("tables, edit, refused")
    await page.keyboard.press("Escape")
    await row.get_by_role("button", name="Show SQL").click()
    await expect(page.get_by_role("button", name="Copy SQL")).to_be_visible()
    await looker.look("tables, sql")
    await page.keyboard.press("Escape")


async def live(dev: Dev, looker: Looker) -> None:
    page = looker.page
    await looker.at(f"#/live?channel={'table:' + EVIL}", "Live")
    await expect(page.get_by_role("status").get_by_text("Subscribed", exact=True)).to_be_visible()
    long = LONG[:60_000]
    await dev.psql(f"insert into \"{EVIL}\" values (1, '{EVIL}', '{REVERSED}'), (2, '{long}', null)")
    await dev.psql(f'update "{EVIL}" set "{EVIL} " = \'{REVERSED}\'')
    items = page.get_by_role("list", name="Events").get_by_role("listitem")
    await expect(items).to_have_count(4)
    await items.nth(2).click()
    await expect(page.get_by_role("region", name="Details")).to_contain_text("Changed")
    await page.get_by_text("This subscription as code").click()
    await page.get_by_text("Keys", exact=True).click()
    await looker.look("live")
    await page.get_by_role("button", name="Pause").click()
    await page.get_by_label("Search").fill("nothing like this")
    await looker.look("live, nothing found")
    await page.get_by_label("Search").fill("")


async def broadcast(dev: Dev, looker: Looker) -> None:
    page = looker.page
    await looker.at("#/broadcast", "Broadcast")
    await page.get_by_label("Channel").fill(f"room:{EVIL}")
    for payload in (json.dumps({EVIL: REVERSED}), json.dumps(LONG[:60_000])):
        await page.get_by_label("Payload").fill(payload)
        await page.get_by_role("button", name="Send").click()
        await expect(page.get_by_text("Round trip")).to_be_visible()
    await expect(page.get_by_role("list", name="Messages").get_by_role("listitem")).to_have_count(2)
    await looker.look("broadcast")
    await page.get_by_label("Payload").fill('{"a" 1}')
    await page.get_by_role("button", name="Send").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await looker.look("broadcast, refused")


async def presence(dev: Dev, looker: Looker) -> None:
    page = looker.page
    await looker.at("#/presence", "Presence")
    await page.get_by_label("Channel").fill(f"room:{EVIL}")
    people = page.get_by_role("list", name="People").get_by_role("listitem")
    await expect(people).to_have_count(len(USERS))
    await people.first.get_by_text("Details").click()
    await page.get_by_role("button", name="Be present").click()
    await expect(people).to_have_count(len(USERS) + 1)
    await looker.look("presence")
    await page.get_by_role("button", name="Leave").click()


async def connections(dev: Dev, looker: Looker) -> None:
    page = looker.page
    await looker.at("#/connections", "Connections")
    table = page.get_by_role("table", name="Connections")
    row = table.get_by_role("row").filter(has_text=EVIL).first
    await expect(row).to_be_visible()
    await expect(page.get_by_role("table", name="History")).to_be_visible()
    await looker.look("connections")
    await row.get_by_role("link").click()
    await expect(page.get_by_text("connected from")).to_be_visible()
    await expect(page.get_by_text("User agent")).to_be_visible()
    await looker.look("one connection")
    await page.get_by_role("button", name="Disconnect").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await looker.look("one connection, disconnect")
    await page.keyboard.press("Escape")


async def settings(dev: Dev, looker: Looker) -> None:
    await looker.at("#/settings", "Settings")
    await expect(looker.page.get_by_text("max_message_bytes")).to_be_visible()
    await looker.look("settings")

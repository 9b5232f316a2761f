"""A real browser: the product page's own JavaScript, and what a browser can read of a refusal.

`product_page.js` is the page's program word for word; the test puts in the address and the token only.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import ConsoleMessage, Page, WebSocket, async_playwright

from tests.acceptance.programs import Dev
from tests.browser_fixture import FLAGS, PATIENCE_MS
from tests.gateway_fixture import eventually

PRODUCT_PAGE = Path(__file__).with_name("product_page.js")
EMPTY_PAGE = '<!doctype html><title>Test</title><link rel="icon" href="data:,">'

# Opens a WebSocket, closes it after the first message; resolves to all that a page can learn of it.
LEARN = """([url, protocols]) => new Promise((resolve) => {
    const learned = {messages: []};
    const ws = new WebSocket(url, protocols);
    ws.onmessage = (event) => {
        learned.messages.push(JSON.parse(event.data));
        learned.protocol = ws.protocol;
        if (learned.messages[0].type === "connected") ws.close(1000);
    };
    ws.onclose = (event) => resolve({...learned, code: event.code});
})"""


class Tab:
    """A page in the browser: what it logged, and what came to its WebSockets."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.logged: list[ConsoleMessage] = []
        self.received: list[dict[str, Any]] = []
        page.on("console", lambda message: self.logged.append(message))
        page.on("websocket", self._follow)

    def _follow(self, web_socket: WebSocket) -> None:
        web_socket.on("framereceived", lambda text: self.received.append(json.loads(text)))

    async def receives(self, kind: str, count: int) -> None:
        """Wait until so many messages of a type have come."""
        await eventually(lambda: [one["type"] for one in self.received].count(kind) >= count)

    async def log(self, count: int) -> list[list[Any]]:
        """What console.log was given, once that was so many times."""
        await eventually(lambda: len(self.logged) >= count)
        return [[await word.json_value() for word in message.args] for message in self.logged]


@pytest.fixture
async def tab(chromium: str) -> AsyncIterator[Tab]:
    """A page of 127.0.0.1 in which nothing happens yet."""

    async def serve(_: web.Request) -> web.Response:
        return web.Response(text=EMPTY_PAGE, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", serve)
    async with TestServer(app) as server, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS, timeout=PATIENCE_MS)
        try:
            tab = Tab(await browser.new_page())
            await tab.page.goto(str(server.make_url("/")), timeout=PATIENCE_MS)
            yield tab
        finally:
            await browser.close()


def product_page(dev: Dev) -> str:
    """The product page's program, unchanged but for address and token."""
    program = PRODUCT_PAGE.read_text()
    for theirs, ours in (
        ("wss://api.zmesh.in", dev.url.replace("http:", "ws:")),
        ("{project_id}", "demo"),
        ("YOUR_JWT", dev.token),
    ):
        assert program.count(theirs) == 1
        program = program.replace(theirs, ours)
    return program


async def test_the_product_pages_program_logs_what_psql_changes(dev: Dev, tab: Tab) -> None:
    await tab.page.add_script_tag(content=product_page(dev))
    await tab.receives("subscribed", 2)
    await dev.psql("insert into users (name, email) values ('Rahul', 'rahul@example.com')")
    # Each waits for the one before, since two tables have no common order.
    await tab.receives("realtime", 1)
    await dev.psql("insert into orders (item, amount) values ('tea', 12.50)")
    await dev.psql("update orders set status = 'paid' where item = 'tea'")
    await dev.psql("insert into orders (item) values ('marker')")
    connected, user, order, marker = await tab.log(4)
    assert connected == ["Connected to zMesh Realtime"]
    assert tab.logged[1].text.startswith("users INSERT {id: ")
    assert user[:2] == ["users", "INSERT"]
    assert (user[2]["name"], user[2]["email"]) == ("Rahul", "rahul@example.com")
    assert order[:2] == marker[:2] == ["orders", "INSERT"]
    assert (order[2]["item"], order[2]["amount"], order[2]["status"]) == ("tea", 12.5, "new")
    assert marker[2]["item"] == "marker"
    assert len(tab.logged) == 4


async def learn(tab: Tab, dev: Dev, query: str = "", *protocols: str) -> dict[str, Any]:
    address = dev.url.replace("http:", "ws:") + "/projects/demo/realtime/ws" + query
    return await tab.page.evaluate(LEARN, [address, list(protocols)])


async def test_a_browser_may_bring_its_token_as_a_subprotocol(dev: Dev, tab: Tab) -> None:
    learned = await learn(tab, dev, "", "realtime", dev.token)
    assert learned["protocol"] == "realtime"
    assert learned["messages"][0]["user_id"] == "alice"
    assert learned["code"] == 1000


async def test_a_browser_can_read_why_its_token_was_refused(dev: Dev, tab: Tab) -> None:
    for way in (["?token=nonsense"], ["", "realtime", "nonsense"], [""]):
        learned = await learn(tab, dev, *way)
        assert [message["code"] for message in learned["messages"]] == ["unauthorized"], way
        assert learned["code"] == 4401, way

"""The hooks for React in a real browser, on a real service: one connection, whatever mounts and changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Locator, Page, WebSocket, async_playwright, expect

from tests.acceptance.javascript_package import bundle, install
from tests.acceptance.node import JAVASCRIPT
from tests.acceptance.programs import Dev
from tests.browser_fixture import FLAGS, PATIENCE_MS
from tests.docs_fixture import blocks
from tests.gateway_fixture import eventually

HOST = "https://realtime.example.com"
PAGE = """<!doctype html><title>Board</title><link rel="icon" href="data:,">
<div id="root"></div><script type="module" src="bundle.js"></script>"""
# What stands in the documentation is an `App`; a program that shows it.
SHOW = """
import { StrictMode } from "react"
import { createRoot } from "react-dom/client"
import { App } from "./App.jsx"
createRoot(document.getElementById("root")).render(<StrictMode><App /></StrictMode>)
"""


@dataclass
class Board:
    """A page, and what went over its WebSockets."""

    page: Page
    sockets: list[WebSocket] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("websocket", self._follow)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console", lambda one: self.errors.append(one.text) if one.type in ("error", "warning") else None
        )

    def _follow(self, web_socket: WebSocket) -> None:
        self.sockets.append(web_socket)
        web_socket.on("framesent", lambda text: self.sent.append(json.loads(text)))
        web_socket.on("framereceived", lambda text: self.received.append(json.loads(text)))

    def channels(self, kind: str) -> list[str]:
        """The channels that were asked for, or given up, in order."""
        return [one["channel"] for one in self.sent if one["type"] == kind]

    async def answered(self, kind: str, channel: str) -> None:
        """Wait until the service has confirmed it."""

        def is_answered() -> bool:
            return any(one["type"] == kind and one.get("channel") == channel for one in self.received)

        await eventually(is_answered)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name)


@asynccontextmanager
async def board(dev: Dev, program: str, script: Path, **facts: str) -> AsyncIterator[Board]:
    """Show a program that was made for the browser."""

    async def token(_: web.Request) -> web.Response:
        return web.Response(text=dev.token)

    async def page_(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def script_(_: web.Request) -> web.FileResponse:
        return web.FileResponse(script)

    app = web.Application()
    app.add_routes([web.get("/", page_), web.get("/bundle.js", script_), web.get("/realtime-token", token)])
    async with TestServer(app) as server, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS, timeout=PATIENCE_MS)
        try:
            shown = Board(await browser.new_page())
            await shown.page.goto(f"{server.make_url('/')}?{urlencode(facts)}", timeout=PATIENCE_MS)
            yield shown
        finally:
            await browser.close()
    assert shown.errors == []
    assert len(shown.sockets) == 1


async def test_one_connection_serves_all_components(dev: Dev, chromium: str, tmp_path: Path) -> None:
    await install(tmp_path)
    shutil.copyfile(JAVASCRIPT / "board.jsx", tmp_path / "board.jsx")
    script = await bundle(tmp_path, tmp_path / "board.jsx")
    async with board(dev, chromium, script, url=f"{dev.url}/projects/demo", token=dev.token) as shown:
        await expect(shown.page.get_by_text("open", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        await shown.answered("subscribed", "table:orders:INSERT")
        await shown.answered("subscribed", "room:one")
        await dev.psql("insert into orders (item) values ('tea'), ('cake')")
        for name in ("left", "right"):
            await expect(shown.page.get_by_role("list", name=name)).to_have_text("teacake")
        await shown.button("Send").click()
        await expect(shown.page.get_by_role("status")).to_have_text("hello room:one")
        await shown.button("Go to the other room").click()
        await shown.answered("subscribed", "room:two")
        await shown.answered("unsubscribed", "room:one")
        await shown.button("Send").click()
        await expect(shown.page.get_by_role("status")).to_have_text("hello room:one, hello room:two")
        # Each was subscribed to once, by two components and in strict mode.
        assert sorted(shown.channels("subscribe")) == ["room:one", "room:two", "table:orders:INSERT"]
        await shown.button("Hide").click()
        await shown.answered("unsubscribed", "table:orders:INSERT")
        await shown.answered("unsubscribed", "room:two")
        assert sorted(shown.channels("unsubscribe")) == ["room:one", "room:two", "table:orders:INSERT"]
        await expect(shown.page.get_by_text("open", exact=True)).to_be_visible()


async def test_the_documented_page_shows_rows_people_and_messages(
    dev: Dev,
    chromium: str,
    tmp_path: Path,
) -> None:
    await install(tmp_path)
    (example,) = blocks("docs/javascript.md", "jsx")
    (tmp_path / "App.jsx").write_text(example.text.replace(HOST, dev.url))
    (tmp_path / "show.jsx").write_text(SHOW)
    script = await bundle(tmp_path, tmp_path / "show.jsx")
    async with board(dev, chromium, script) as shown:
        await expect(shown.page.get_by_text("live", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        await dev.psql("insert into orders (item) values ('tea')")
        await expect(shown.page.get_by_role("listitem")).to_have_text(["tea"])
        await expect(shown.page.get_by_text("Ann", exact=True)).to_be_visible()
        await shown.answered("subscribed", "room:lobby")
        await shown.button("Say hello").click()
        await expect(shown.page.get_by_role("status")).to_have_text("hello")

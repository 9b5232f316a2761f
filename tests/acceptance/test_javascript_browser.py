"""The JavaScript client in a real browser: in a tab that is frozen, offline or left, and in a worker.

Rows are inserted meanwhile. The client is the file that a gateway serves, imported from another origin.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.acceptance.devtools import DevtoolsPage, page_of
from tests.acceptance.front import Verdict, judge, project_url
from tests.acceptance.node import JAVASCRIPT, Event
from tests.acceptance.programs import START_SECONDS, Dev
from tests.chaos.link import Link
from tests.gateway_fixture import eventually

INSERT = "with row as (insert into orders (item) values ('tea') returning id) select id from row"


@dataclass
class Tab:
    """A page that follows `orders`, through a network of its own."""

    page: DevtoolsPage
    dev: Dev
    link: Link
    committed: list[int]

    async def events(self, *kinds: str) -> list[Event]:
        return [one for one in await self.page.evaluate("events") if one["kind"] in kinds]

    async def heard(self) -> list[int | None]:
        return [
            one["value"] if one["kind"] == "change" else None for one in await self.events("change", "gap")
        ]

    async def subscribed(self, times: int) -> None:
        async def is_subscribed() -> bool:
            return [one["value"] for one in await self.events("state")].count(True) >= times

        await eventually(is_subscribed, START_SECONDS)

    async def reasons(self) -> list[str]:
        """Why it waited for another connection."""
        statuses = [one["value"] for one in await self.events("status")]
        return [status["reason"] for status in statuses if status["state"] == "waiting"]

    async def insert(self, count: int = 3) -> None:
        for _ in range(count):
            self.committed.append(int(await self.dev.psql(INSERT)))

    async def is_up_to_date(self) -> None:
        """Wait until the last row came; all came once, in order, and no gap was told."""

        async def came() -> bool:
            return (await self.heard())[-1:] == self.committed[-1:]

        await eventually(came, START_SECONDS)
        assert judge(self.committed, await self.heard()) == Verdict()

    async def freeze(self) -> None:
        await self.page.send("Page.setWebLifecycleState", state="frozen")

    async def thaw(self) -> None:
        await self.page.send("Page.setWebLifecycleState", state="active")

    async def is_offline(self, offline: bool) -> None:
        speed = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        await self.page.send("Network.emulateNetworkConditions", offline=offline, **speed)


@asynccontextmanager
async def files() -> AsyncIterator[TestServer]:
    """A server of the page and its program, on an origin of its own."""
    app = web.Application()
    for name in ("tab.html", "tab.mjs"):
        kind = "text/html" if name.endswith("html") else "text/javascript"

        async def serve(
            _: web.Request, kind: str = kind, content: bytes = (JAVASCRIPT / name).read_bytes()
        ) -> web.Response:
            return web.Response(body=content, content_type=kind)

        app.router.add_get(f"/{name}", serve)
    server = TestServer(app)
    async with server:
        yield server


@dataclass
class Browser:
    """Opens pages that follow `orders`."""

    program: str
    dev: Dev
    directory: Path

    @asynccontextmanager
    async def following(self, **more: str) -> AsyncIterator[Tab]:
        """Open a page, and wait until it is subscribed and hears rows."""
        link = Link("browser", urlsplit(self.dev.url).port or 0)
        async with files() as server, link.listening(), page_of(self.program, self.directory) as page:
            tab = Tab(page, self.dev, link, [])
            facts = {
                "client": f"{self.dev.url}/realtime.js",
                "url": project_url(link),
                "token": self.dev.token,
            }
            await page.go(f"{server.make_url('/tab.html')}?{urlencode(facts | more)}")
            await page.becomes("typeof events == 'object'")
            await tab.subscribed(1)
            await tab.insert()
            await tab.is_up_to_date()
            yield tab


@pytest.fixture
def chrome(dev: Dev, chromium: str, tmp_path: Path) -> Browser:
    return Browser(chromium, dev, tmp_path)


async def test_a_frozen_tab_hears_all_when_it_is_thawed(chrome: Browser) -> None:
    async with chrome.following() as tab:
        await tab.freeze()
        await tab.insert()
        await tab.thaw()
        await tab.is_up_to_date()
        await tab.insert()
        await tab.is_up_to_date()
        assert [one["kind"] for one in await tab.events("freeze", "resume")] == ["freeze", "resume"]
        # Chromium closes the connections of a page that it freezes.
        assert await tab.reasons() in ([], ["connection_lost"]), "it came back at the first attempt"


async def test_a_tab_looks_for_its_connection_when_it_is_online_again(chrome: Browser) -> None:
    """The connection is dead and nobody said so: it is replaced without waiting for the heartbeat."""
    async with chrome.following() as tab:
        await tab.is_offline(True)
        tab.link.forget()
        await tab.insert()
        await tab.is_offline(False)
        await tab.subscribed(2)
        await tab.insert()
        await tab.is_up_to_date()
        assert [one["kind"] for one in await tab.events("offline", "online")] == ["offline", "online"]
        assert await tab.reasons() == ["no_answer"]


async def test_a_page_from_the_back_forward_cache_comes_back(chrome: Browser) -> None:
    async with chrome.following() as tab:
        await tab.page.go("about:blank")
        await tab.page.becomes("location.href == 'about:blank'")
        await tab.insert()
        await tab.page.evaluate("history.back()")
        await tab.page.becomes("typeof events == 'object'")
        shown = [one["value"] for one in await tab.events("pageshow")]
        assert shown == [False, True], "this browser made the page anew"
        await tab.is_up_to_date()
        await tab.insert()
        await tab.is_up_to_date()


async def test_the_client_works_in_a_worker(chrome: Browser) -> None:
    async with chrome.following(worker="yes") as tab:
        tab.link.cut()
        await tab.insert()
        await tab.is_up_to_date()
        assert await tab.reasons() == ["connection_lost"]

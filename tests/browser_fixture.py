"""A real browser for tests: Chromium, and tabs that must end without an error on their console.

`tests/conftest.py` names it as a plugin.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    async_playwright,
    expect,
)

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# A tab that nobody looks at is as fast as another.
STEADY = [
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
]
PATIENCE_MS = 90_000  # for the browser to start, on a busy machine
ACTION_MS = 30_000  # for a page to show something
expect.set_options(timeout=ACTION_MS)  # for all tests of the process, whichever modules it has
DESK = {"width": 1280, "height": 860}
LEFT = "net::ERR_ABORTED"  # the page that asked has left
LOG_REFUSED = """document.addEventListener("securitypolicyviolation", (event) => {
    console.error(`the policy refused ${event.blockedURI} by ${event.violatedDirective}: ${event.sourceFile}`)
})"""


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program; only CI insists on it."""
    found = shutil.which("chromium")
    if found is None:
        why = "there is no chromium on this machine; on Debian: apt-get install chromium"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    return found


@pytest.fixture(scope="session")
def devtools(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one browser for all tests of this process: to start one costs more than most tests."""
    directory = tmp_path_factory.mktemp("chromium")
    command = [chromium, *FLAGS, *STEADY, "--remote-debugging-port=0", f"--user-data-dir={directory}"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([*command, "about:blank"], stdout=log, stderr=log, start_new_session=True)
    try:
        written = directory / "DevToolsActivePort"
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while not (written.exists() and written.read_text().count("\n")):
            assert process.poll() is None, (directory / "log").read_text(errors="replace")
            assert time.monotonic() < deadline
            time.sleep(0.02)
        port, path = written.read_text().split("\n")[:2]
        yield f"ws://127.0.0.1:{port}{path}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


@pytest.fixture
async def browser(devtools: str) -> AsyncIterator[Browser]:
    """The browser of this process; contexts are of one test each, and end with it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(devtools, timeout=PATIENCE_MS)
        try:
            yield browser
        finally:
            await browser.close()  # leaves it, and ends the contexts of this test


class Tabs:
    """Tabs of one person, and what they logged and asked for."""

    def __init__(self, context: BrowserContext) -> None:
        self._context = context
        self.errors: list[str] = []
        self.requested: list[str] = []
        self.expected: tuple[str, ...] = ()  # parts of errors that a test causes

    async def open(self, url: str = "") -> Page:
        page = await self._context.new_page()
        page.set_default_timeout(ACTION_MS)
        page.on("console", self._logged)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requested.append(request.url))
        page.on("requestfailed", self._failed)
        page.on("websocket", lambda web_socket: self.requested.append(web_socket.url))
        if url:
            await page.goto(url, timeout=PATIENCE_MS)
        return page

    def _logged(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _failed(self, request: Request) -> None:
        if request.failure != LEFT:
            self.errors.append(f"Failed to load resource: {request.url} {request.failure}")

    def check(self) -> None:
        """No error but the expected ones, no other host was asked for anything, and no URL has a token."""
        unexpected = [one for one in self.errors if not any(part in one for part in self.expected)]
        assert not unexpected
        assert {urlsplit(url).hostname for url in self.requested if not url.startswith("data:")} <= {
            "127.0.0.1"
        }
        assert not [url for url in self.requested if "eyJ" in url.partition("#")[0]]


@asynccontextmanager
async def opened_tabs(browser: Browser, **options: Any) -> AsyncIterator[Tabs]:
    """Tabs of one more person; `options` are those of a browser's context."""
    context = await browser.new_context(**{"viewport": DESK, **options})
    await context.add_init_script(LOG_REFUSED)
    tabs = Tabs(context)
    yield tabs
    tabs.check()
    await context.close()


@pytest.fixture
async def tabs(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[Tabs]:
    """Tabs as wide as a desk has room for; an indirect parameter changes the options of the context."""
    async with opened_tabs(browser, **getattr(request, "param", {})) as tabs:
        yield tabs

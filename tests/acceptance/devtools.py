"""A page in a browser by the DevTools protocol alone.

Playwright holds its pages visible and focused, so that none of them can be frozen; here nobody does.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tests.acceptance.programs import START_SECONDS
from tests.gateway_fixture import eventually

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"),
    "--remote-debugging-port=0",
)


class DevtoolsPage:
    """A tab, as its DevTools see it."""

    def __init__(self, web_socket: aiohttp.ClientWebSocketResponse) -> None:
        self._web_socket = web_socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def listen(self) -> None:
        async for frame in self._web_socket:
            message = json.loads(frame.data)
            if (answer := self._answers.pop(message.get("id"), None)) is not None:
                answer.set_result(message)

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._web_socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(START_SECONDS):
            answer = await self._answers[number]
        assert "error" not in answer, (method, answer)
        return answer["result"]

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        answer = await self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def becomes(self, condition: str) -> None:
        """Wait until a condition holds in the page, or in the one that follows it."""

        async def holds() -> bool:
            # A page that is being left answers nothing.
            with suppress(AssertionError):
                return bool(await self.evaluate(condition))
            return False

        await eventually(holds, START_SECONDS)

    async def go(self, url: str) -> None:
        await self.send("Page.navigate", url=url)


@asynccontextmanager
async def page_of(program: str, directory: Path) -> AsyncIterator[DevtoolsPage]:
    """Start a browser of our own, with a page in which nothing happens yet."""
    log = directory / "chromium.log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(program, *FLAGS, f"--user-data-dir={directory / 'chromium'}", "about:blank"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
        )
    try:
        async with aiohttp.ClientSession() as http:
            found = await eventually(
                lambda: re.search(r"listening on (ws://\S+)\n", log.read_text(errors="replace")),
                START_SECONDS,
            )
            tabs = f"http://{urlsplit(found[1]).netloc}/json"
            async with http.get(tabs) as answer:
                (tab,) = [one for one in await answer.json() if one["type"] == "page"]
            async with http.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as web_socket:
                page = DevtoolsPage(web_socket)
                listening = asyncio.create_task(page.listen())
                try:
                    yield page
                finally:
                    listening.cancel()
                    await asyncio.wait([listening])
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()

"""Take pictures of every page of the dashboard, in light, in dark and on a phone, with people and traffic.

`make screenshots` runs a service of its own, writes all pictures to build/screenshots/, and those that README
and docs show to docs/images/. Needs Chromium. Takes three minutes: the charts show what happens meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from playwright.async_api import Browser, Page, async_playwright

from realtime.auth.tokens import issue

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "build" / "screenshots"
SHOWN = ROOT / "docs" / "images"
PORT = 8930
WATCHED_SECONDS = 150
START_SECONDS = 60

KINDS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 740}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 740}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}, "is_mobile": True},
}
WITH_DETAILS: Any = {"width": 1184, "height": 640}  # the least width at which they stand beside the list
IN_DOCS = {("overview", "light"), ("tables", "light"), ("live-diff", "dark"), ("connections", "phone")}

MAC, WINDOWS, PHONE = "Macintosh; Intel Mac OS X 10_15_7", "Windows NT 10.0; Win64; x64", "Linux; Android 16"
AGENTS = (
    f"Mozilla/5.0 ({MAC}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    f"Mozilla/5.0 ({WINDOWS}; rv:144.0) Gecko/20100101 Firefox/144.0",
    f"Mozilla/5.0 ({PHONE}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    f"Mozilla/5.0 ({MAC}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15",
    "shop-worker/2.1",
)
PEOPLE = ("maya", "jonas", "amara", "li.wei", "sofia", "tomás", "noor", "ravi", "ingrid", "dao")
ITEMS = ("green tea", "oolong", "rooibos", "espresso beans", "filter papers", "teapot, 1.2 l", "matcha whisk")

TABLES = """
create table customers (id bigserial primary key, name text, email text, city text, password_hash text);
create table products (sku text primary key, title text, price numeric(10, 2), stock int);
create table shipments (id bigserial primary key, order_id bigint, carrier text, code text, arrived boolean);
create table audit_log (at timestamptz default now(), who text, what text);
create schema billing;
create table billing.invoices (id bigserial primary key, order_id bigint, total numeric(12, 2), paid boolean);
"""
ENABLED: tuple[dict[str, Any], ...] = (
    {"table_name": "customers", "events": ["INSERT", "UPDATE"], "columns": ["id", "name", "city"]},
    {"table_name": "shipments"},
    {"table_name": "invoices", "schema": "billing", "events": ["INSERT"]},
)
PAY = """
update orders set status = 'paid' where id = (select max(id) from orders where status = 'new')
"""
CHANNELS = ("table:orders", "table:shipments", "table:customers", "room:support", "room:kitchen", "presence")


class Service:
    """A `realtime dev` with three nodes, and what its line of JSON says."""

    def __init__(self, directory: Path, ready: dict[str, str]) -> None:
        self.url = ready["url"]
        self.database_url = ready["database_url"]
        self.token = ready["service_token"]
        self._secret = (directory / "jwt-secret").read_text().strip()

    def node(self) -> str:
        """The address of any of the nodes."""
        return f"http://127.0.0.1:{PORT + random.randrange(3)}"

    def token_of(self, name: str) -> str:
        return issue(self._secret, "demo", name, "authenticated", 3600, time.time())

    async def post(self, path: str, body: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        address = f"{self.url}/projects/demo/realtime{path}"
        async with aiohttp.ClientSession(headers=headers) as http, http.post(address, json=body) as answer:
            answer.raise_for_status()


@asynccontextmanager
async def service() -> AsyncIterator[Service]:
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory) / "data"
        words = ("dev", "--nodes", "3", "--port", str(PORT), "--data-dir", str(data), "--json")
        program = Path(sys.executable).with_name("realtime")
        with (Path(directory) / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                program, *words, stdout=asyncio.subprocess.PIPE, stderr=log
            )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_SECONDS):
                ready = json.loads(await process.stdout.readline())
            yield Service(data, ready)
        finally:
            process.terminate()
            await process.wait()


async def person(service: Service, name: str, number: int) -> None:
    """Be connected for a while, present and talking; again and again."""
    channels = random.sample(CHANNELS, 3)
    headers = {
        "Authorization": f"Bearer {service.token_of(name)}",
        "User-Agent": AGENTS[number % len(AGENTS)],
    }
    home = aiohttp.TCPConnector(local_addr=(f"127.0.{number // 7}.{10 + number}", 0))
    async with aiohttp.ClientSession(headers=headers, connector=home) as http:
        while True:
            url = f"{service.node()}/projects/demo/realtime/ws"
            async with http.ws_connect(url) as web_socket:
                for channel in channels:
                    await web_socket.send_json({"type": "subscribe", "channel": channel})
                for scope in ({}, {"channel": "room:support"}):
                    state = {"name": name.title(), "page": f"/orders/{1000 + number}"}
                    await web_socket.send_json({"type": "presence", "state": state, **scope})
                await _talk(web_socket, until=time.monotonic() + random.uniform(20, 90))
            await asyncio.sleep(random.uniform(1, 4))


async def _talk(web_socket: aiohttp.ClientWebSocketResponse, until: float) -> None:
    said = ("On my way", "Order is packed", "Who has the key?", "Table 4 is ready", "Thanks!")
    while time.monotonic() < until and not web_socket.closed:
        if random.random() < 0.1:
            room = random.choice(("room:support", "room:kitchen"))
            payload = {"text": random.choice(said)}
            await web_socket.send_json({"type": "broadcast", "channel": room, "payload": payload})
        try:
            async with asyncio.timeout(0.4):
                while (await web_socket.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass
        except TimeoutError:
            pass


async def shop(service: Service) -> None:
    """Orders that come, are paid and are sent, more of them in waves."""
    connection = await asyncpg.connect(service.database_url)
    try:
        for number in itertools.count():
            item, amount = random.choice(ITEMS), Decimal(random.randrange(300, 9000)) / 100
            await connection.execute("insert into orders (item, amount) values ($1, $2)", item, amount)
            if number % 2:
                await connection.execute(PAY)
            if number % 5 == 0:
                await connection.execute(
                    "insert into shipments (order_id, carrier) values ($1, 'DHL')", number
                )
            await asyncio.sleep(0.5 if number % 60 < 40 else 0.05)
    finally:
        await connection.close()


Action = Callable[[Page], Awaitable[None]]


async def nothing(page: Page) -> None:
    await page.wait_for_timeout(1500)


async def diff(page: Page) -> None:
    """Follow the orders until updates have come, and open one; a full page would be too big a picture."""
    if page.viewport_size and page.viewport_size["width"] > WITH_DETAILS["width"]:
        await page.set_viewport_size(WITH_DETAILS)
    await page.get_by_role("button", name="Subscribe").click()
    updates = page.locator("li.event", has=page.locator(".kind.UPDATE"))
    await updates.nth(3).wait_for()
    await page.get_by_role("button", name="Pause").click()
    await updates.last.click()


async def send(page: Page) -> None:
    await page.get_by_label("Channel").fill("room:support")
    await page.get_by_label("Payload").fill('{"text": "The kitchen closes at ten."}')
    await page.get_by_role("button", name="Send").click()
    await page.get_by_text("Round trip").wait_for()
    await page.wait_for_timeout(3000)


async def edit(page: Page) -> None:
    row = page.get_by_role("listitem").filter(has=page.get_by_role("switch", name="public.customers"))
    await row.get_by_role("button", name="Edit").click()
    await page.get_by_role("dialog").wait_for()


async def sql(page: Page) -> None:
    await page.get_by_role("button", name="Show SQL").first.click()
    await page.get_by_role("button", name="Copy SQL").wait_for()


async def one_connection(page: Page) -> None:
    await page.get_by_role("table", name="Connections").get_by_role("link").first.click()
    await page.get_by_text("connected from").wait_for()


async def disconnect(page: Page) -> None:
    await one_connection(page)
    await page.get_by_role("button", name="Disconnect").click()
    await page.get_by_role("dialog").wait_for()


SHOTS: tuple[tuple[str, str, Action], ...] = (
    ("tables", "#/tables", nothing),
    ("tables-edit", "#/tables", edit),
    ("tables-sql", "#/tables", sql),
    ("live-diff", "#/live?channel=table:orders", diff),
    ("presence", "#/presence?channel=room:support", nothing),
    ("broadcast", "#/broadcast", send),
    ("connections", "#/connections", nothing),
    ("connection", "#/connections", one_connection),
    ("connection-disconnect", "#/connections", disconnect),
    ("settings", "#/settings", nothing),
    ("live-empty", "#/live", nothing),
    ("presence-empty", "#/presence?channel=room:nobody", nothing),
    ("broadcast-empty", "#/broadcast", nothing),
    ("tables-empty", "#/tables?search=nothing", nothing),
)


async def shoot(page: Page, name: str, kind: str) -> None:
    path = PICTURES / f"{name}-{kind}.png"
    await page.screenshot(path=path, animations="disabled")
    if (name, kind) in IN_DOCS:
        shutil.copy(path, SHOWN / path.name)
    print(f"{path.relative_to(ROOT)} {path.stat().st_size:,} bytes")


async def pictures(browser: Browser, service: Service, kind: str) -> None:
    context = await browser.new_context(**KINDS[kind])
    signed_in = f"{service.url}/dashboard#project=demo&token={service.token}"

    async def opened(address: str) -> Page:
        page = await context.new_page()
        await page.goto(address)
        return page

    began = time.monotonic()
    overview = await opened(signed_in)
    form = await opened(f"{service.url}/dashboard")
    await form.get_by_role("form").wait_for()
    await shoot(form, "sign-in", kind)
    for name, path, action in SHOTS:
        page = await opened(signed_in)
        await page.locator("main h1").wait_for()
        await page.evaluate("path => { location.hash = path }", path)
        await page.locator("main h1").wait_for()
        await action(page)
        await shoot(page, name, kind)
        await page.close()
    ordinary = await opened(f"{service.url}/dashboard#project=demo&token={service.token_of('maya')}")
    await nothing(ordinary)
    await shoot(ordinary, "overview-ordinary", kind)
    await asyncio.sleep(max(0, began + WATCHED_SECONDS - time.monotonic()))
    await shoot(overview, "overview", kind)
    await context.close()


async def main() -> None:
    for directory in (PICTURES, SHOWN):
        directory.mkdir(parents=True, exist_ok=True)
    async with service() as running, async_playwright() as playwright:
        connection = await asyncpg.connect(running.database_url)
        await connection.execute(TABLES)
        await connection.close()
        for body in ENABLED:
            await running.post("/enable", body)
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        life = [shop(running), *(person(running, name, number) for number, name in enumerate(PEOPLE * 2))]
        going_on = [asyncio.create_task(one) for one in life]
        try:
            await asyncio.gather(*(pictures(browser, running, kind) for kind in KINDS))
        finally:
            for one in going_on:
                one.cancel()
            await asyncio.wait(going_on)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())

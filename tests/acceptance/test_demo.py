"""The demo page of `realtime dev` in two windows of a real browser: chat, cursors, and the table orders."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.acceptance.programs import Dev
from tests.browser_fixture import FLAGS, PATIENCE_MS


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS, timeout=PATIENCE_MS)
        try:
            yield browser
        finally:
            await browser.close()


class Window:
    """A window with the page, its user, and what went wrong in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        self.name = ""
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on(
            "console",
            lambda told: self.faults.append(told.text) if told.type in ("error", "warning") else None,
        )

    @classmethod
    async def opened(cls, browser: Browser, dev: Dev) -> Window:
        window = cls(await (await browser.new_context()).new_page())
        window.page.set_default_timeout(PATIENCE_MS)
        await window.page.goto(f"{dev.url}/demo")
        await window.shows("#status", "open")
        window.name = await window.page.inner_text("#me")
        return window

    async def shows(self, selector: str, text: str) -> None:
        await expect(self.page.locator(selector)).to_have_text(text, timeout=PATIENCE_MS)


async def test_two_windows_chat_point_and_see_orders_change(dev: Dev, browser: Browser) -> None:
    first, second = await Window.opened(browser, dev), await Window.opened(browser, dev)
    for window in (first, second):
        for name in (first.name, second.name):
            await expect(window.page.locator("#people")).to_contain_text(name, timeout=PATIENCE_MS)

    await first.page.get_by_label("Message").fill("hello <b>there</b>")
    await first.page.get_by_role("button", name="Send").click()
    for window in (first, second):
        await window.shows("#chat li", f"{first.name}: hello <b>there</b>")

    await first.page.mouse.move(200, 200)
    await second.shows("body > i", first.name)

    await dev.psql("insert into orders (item, amount) values ('demo tea', 3)")
    row = second.page.get_by_role("row").filter(has_text="demo tea")
    await expect(row).to_contain_text("new", timeout=PATIENCE_MS)
    await dev.psql("update orders set status = 'paid' where item = 'demo tea'")
    await expect(row).to_contain_text("paid", timeout=PATIENCE_MS)
    await dev.psql("delete from orders where item = 'demo tea'")
    await expect(row).to_have_class("DELETE", timeout=PATIENCE_MS)

    await first.page.context.close()
    await expect(second.page.locator("#people")).to_have_text(second.name, timeout=PATIENCE_MS)
    await expect(second.page.locator("body > i")).to_have_count(0, timeout=PATIENCE_MS)
    assert first.faults + second.faults == []

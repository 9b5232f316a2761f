"""The demo page of `realtime dev` in two windows of a real browser: chat, cursors, and the table orders."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.acceptance.programs import Dev
from tests.browser_fixture import PATIENCE_MS, Tabs


async def opened(tabs: Tabs, dev: Dev) -> tuple[Page, str]:
    """A window with the page, once it is connected, and its user."""
    page = await tabs.open(f"{dev.url}/demo")
    await shows(page, "#status", "open")
    return page, await page.inner_text("#me")


async def shows(page: Page, selector: str, text: str) -> None:
    await expect(page.locator(selector)).to_have_text(text, timeout=PATIENCE_MS)


async def test_two_windows_chat_point_and_see_orders_change(dev: Dev, tabs: Tabs) -> None:
    (first, one), (second, other) = await opened(tabs, dev), await opened(tabs, dev)
    for window in (first, second):
        for name in (one, other):
            await expect(window.locator("#people")).to_contain_text(name, timeout=PATIENCE_MS)

    await first.get_by_label("Message").fill("hello <b>there</b>")
    await first.get_by_role("button", name="Send").click()
    for window in (first, second):
        await shows(window, "#chat li", f"{one}: hello <b>there</b>")

    await first.mouse.move(200, 200)
    await shows(second, "body > i", one)

    await dev.psql("insert into orders (item, amount) values ('demo tea', 3)")
    row = second.get_by_role("row").filter(has_text="demo tea")
    await expect(row).to_contain_text("new", timeout=PATIENCE_MS)
    await dev.psql("update orders set status = 'paid' where item = 'demo tea'")
    await expect(row).to_contain_text("paid", timeout=PATIENCE_MS)
    await dev.psql("delete from orders where item = 'demo tea'")
    await expect(row).to_have_class("DELETE", timeout=PATIENCE_MS)

    await first.close()
    await shows(second, "#people", other)
    await expect(second.locator("body > i")).to_have_count(0, timeout=PATIENCE_MS)

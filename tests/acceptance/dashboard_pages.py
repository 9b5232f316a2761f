"""Pages of the dashboard in a browser: opened by name, and subscribed to a channel."""

from __future__ import annotations

from playwright.async_api import Locator, Page, expect

from tests.acceptance.programs import Dev
from tests.browser_fixture import Tabs


async def page_of(dev: Dev, tabs: Tabs, name: str, token: str | None = None) -> Page:
    """A page of the dashboard, in a tab of its own."""
    address = dev.dashboard if token is None else f"{dev.url}/dashboard#project=demo&token={token}"
    page = await tabs.open(address)
    await go(page, name)
    return page


async def go(page: Page, name: str) -> None:
    """Go to another page in the same tab; until it is drawn, a field would be one of the page before."""
    await page.get_by_role("link", name=name).click()
    await expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()


def events(page: Page) -> Locator:
    return page.get_by_role("list", name="Events").get_by_role("listitem")


async def subscribe(page: Page, channel: str, since: str = "") -> None:
    await page.get_by_label("Channel").fill(channel)
    await page.get_by_label("Since").fill(since)
    await page.get_by_role("button", name="Subscribe").click()
    await expect(page.get_by_role("status").get_by_text("Subscribed", exact=True)).to_be_visible()

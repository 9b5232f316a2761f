"""The dashboard's page Broadcast in a real browser, and the page Live, where its messages arrive."""

from __future__ import annotations

import json
import re

import pytest
from playwright.async_api import Locator, expect

from tests.acceptance.dashboard_pages import events, go, page_of, subscribe
from tests.acceptance.programs import Dev
from tests.browser_fixture import Tabs
from tests.gateway_fixture import eventually

HOSTILE = "<img src=x onerror=alert(1)>"


async def test_a_broadcast_goes_to_another_tab_digit_for_digit_and_comes_back(dev: Dev, tabs: Tabs) -> None:
    listener = await page_of(dev, tabs, "Live", dev.token)
    await subscribe(listener, "room:two-tabs")
    page = await page_of(dev, tabs, "Broadcast")
    await page.get_by_label("Channel").fill("room:two-tabs")
    payload = f'{{"n": 12345678901234567890.10, "10": 1, "9": 2, "text": {json.dumps(HOSTILE)}}}'
    await page.get_by_label("Payload").fill(payload)
    await page.get_by_role("button", name="Send").click()
    await expect(page.get_by_text("Round trip")).to_be_visible()
    await expect(page.get_by_text("2 connections are subscribed")).to_be_visible()
    await expect(page.get_by_role("list", name="Messages").get_by_role("listitem")).to_contain_text(HOSTILE)
    await expect(events(listener)).to_have_count(1)
    await expect(events(listener).first).to_contain_text(payload)
    assert await listener.locator("img[src=x]").count() == 0

    # And back, by an ordinary token.
    await go(listener, "Broadcast")
    await listener.get_by_label("Channel").fill("room:two-tabs")
    await listener.get_by_label("Payload").fill("18446744073709551615")
    await listener.get_by_role("button", name="Send").click()
    await expect(listener.get_by_text("Round trip")).to_be_visible()
    heard = page.get_by_role("list", name="Messages").get_by_role("listitem")
    await expect(heard).to_have_count(2)
    await expect(heard.first).to_contain_text("18446744073709551615")


@pytest.mark.parametrize(
    ("channel", "payload", "field", "words"),
    [
        ("table:orders", "1", "Channel", "changes alone"),
        ("presence:room:lobby", "1", "Channel", "who is there"),
        ("lobby", "1", "Channel", "room:lobby"),
        ("room:lobby", '{"a": 1,\n"b" 2}', "Payload", "Line 2, column 5: a colon is missing"),
        ("room:lobby", "", "Payload", "a value is missing"),
    ],
)
async def test_what_cannot_be_sent_is_told_at_its_field(
    dev: Dev, tabs: Tabs, channel: str, payload: str, field: str, words: str
) -> None:
    page = await page_of(dev, tabs, "Broadcast")
    await page.get_by_label("Channel").fill(channel)
    await page.get_by_label("Payload").fill(payload)
    await page.get_by_role("button", name="Send").click()
    await expect(page.get_by_role("alert")).to_have_count(1)
    await expect(page.get_by_role("alert")).to_contain_text(words)
    await expect(page.get_by_label(field)).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_role("list", name="Messages")).to_have_count(0)


async def test_hostile_messages_break_nothing(dev: Dev, tabs: Tabs) -> None:
    page = await page_of(dev, tabs, "Live")
    await subscribe(page, "room:hostile")
    sender = await page_of(dev, tabs, "Broadcast")
    await sender.get_by_label("Channel").fill("room:hostile")
    deep = "[" * 900 + "]" * 900
    wide = json.dumps({f"column {n}": n for n in range(3_000)})
    for payload in (json.dumps(HOSTILE), json.dumps("x" * 60_000), deep, wide, '"\u202eevil\u2066"'):
        await sender.get_by_label("Payload").fill(payload)
        await sender.get_by_role("button", name="Send").click()
        await expect(sender.get_by_role("button", name="Send")).not_to_have_attribute("aria-disabled", "true")
        await expect(sender.get_by_role("alert")).to_have_count(0)
    await expect(events(page)).to_have_count(5)
    await expect(events(page).last).to_contain_text(r"\u202eevil\u2066")
    for index in range(5):
        await events(page).nth(index).click()
        details = page.get_by_role("region", name="Details")
        await expect(details).to_be_visible()
        assert await details.get_by_role("row").count() <= 102
        assert len(await details.inner_text()) < 20_000
    assert await page.locator("img[src=x]").count() == 0
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_payload_that_is_too_big_is_told_and_the_connection_comes_back(dev: Dev, tabs: Tabs) -> None:
    page = await page_of(dev, tabs, "Broadcast")
    await page.get_by_label("Channel").fill("room:big")
    await page.get_by_label("Payload").fill(json.dumps("x" * 70_000))
    await page.get_by_role("button", name="Send").click()
    await expect(page.get_by_role("alert")).to_contain_text(re.compile("size|max_message_bytes"))
    await expect(page.get_by_label("Payload")).to_have_attribute("aria-invalid", "true")
    await page.get_by_label("Payload").fill("[]")
    await page.get_by_role("button", name="Send").click()
    await expect(page.get_by_text("Round trip")).to_be_visible()


@pytest.mark.parametrize("tabs", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
async def test_both_pages_fit_a_phone(dev: Dev, tabs: Tabs) -> None:
    page = await tabs.open(dev.dashboard)
    for name in ("Live", "Broadcast"):
        await page.get_by_role("button", name="Menu").click()
        await go(page, name)
        await page.get_by_label("Channel").fill("room:phone")
        if name == "Live":
            await page.get_by_role("button", name="Subscribe").click()
            await expect(page.get_by_role("status").get_by_text("Subscribed", exact=True)).to_be_visible()
        else:
            await page.get_by_role("button", name="Send").click()
            await expect(page.get_by_text("Round trip")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.get_by_role("button", name="Menu").click()
    await page.get_by_role("link", name="Live").click()
    # The subscription went on meanwhile.
    await eventually(lambda: _count(events(page), 1))


async def _count(found: Locator, count: int) -> bool:
    return await found.count() == count

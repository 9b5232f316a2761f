"""The dashboard's page Live in a real browser, by the names that a screen reader reads."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from playwright.async_api import Page, expect
from redis import asyncio as redis

from realtime.channels import Event, Table
from realtime.names import topic_channel
from realtime.publications import change_line, line_prefix
from realtime.redis.history import new_epoch, topic_keys
from realtime.resources import packaged_text
from tests.acceptance.conftest import Stage
from tests.acceptance.dashboard_pages import events, go, page_of, subscribe
from tests.acceptance.programs import START_SECONDS, Dev, psql, running
from tests.acceptance.served import LOCAL, served
from tests.browser_fixture import Tabs
from tests.gateway_fixture import token_for


async def exported(page: Page) -> list[dict[str, Any]]:
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Export").click()
    text = await asyncio.to_thread(Path(await (await download.value).path()).read_text)
    return [json.loads(line, parse_float=str) for line in text.splitlines()]


async def test_changes_are_seen_as_they_come_and_an_update_as_what_it_changed(dev: Dev, tabs: Tabs) -> None:
    page = await page_of(dev, tabs, "Live")
    await subscribe(page, "table:orders")
    await dev.psql("insert into orders (item, amount) values ('green tea', 12345678901234567890.12)")
    await expect(events(page)).to_have_count(1)
    await expect(events(page).first).to_contain_text("INSERT")
    await expect(events(page).first).to_contain_text('item "green tea"')
    await expect(events(page).first).to_contain_text("amount 12345678901234567890.12")
    await dev.psql("update orders set status = 'paid' where item = 'green tea'")
    await expect(events(page)).to_have_count(2)
    await expect(events(page).nth(1)).to_contain_text('status "new" → "paid"')
    await expect(events(page).nth(1)).not_to_contain_text("green tea")

    await events(page).nth(1).click()
    details = page.get_by_role("region", name="Details")
    await expect(details.get_by_role("row", name="status")).to_contain_text('"new"')
    await expect(details.get_by_role("row", name="status")).to_contain_text('"paid"')
    await expect(details.get_by_role("row", name="amount")).to_contain_text("12345678901234567890.12")

    await dev.psql("delete from orders where item = 'green tea'")
    await expect(events(page)).to_have_count(3)
    for index in range(3):
        await expect(events(page).nth(index)).to_have_attribute("aria-posinset", str(index + 1))
        await expect(events(page).nth(index)).to_have_attribute("aria-setsize", "3")


async def test_pause_counts_and_clear_export_search_and_kinds_do_as_they_say(dev: Dev, tabs: Tabs) -> None:
    page = await page_of(dev, tabs, "Live")
    await subscribe(page, "table:orders")
    await dev.psql(
        "insert into orders (item, amount) values ('mocha', 0.10), ('latte', 0.123456789012345678901)"
    )
    await expect(events(page)).to_have_count(2)
    pause = page.get_by_role("button", name="Pause")
    await pause.click()
    await expect(pause).to_have_attribute("aria-pressed", "true")
    await dev.psql("update orders set amount = amount + 1 where item in ('mocha', 'latte')")
    await expect(page.get_by_text("Paused: 2 more came")).to_be_visible()
    await expect(events(page)).to_have_count(2)
    await pause.click()
    await expect(events(page)).to_have_count(4)

    await page.get_by_label("Search").fill("LATTE")
    await expect(events(page)).to_have_count(2)
    await expect(page.get_by_text("2 of 4 shown")).to_be_visible()
    await page.get_by_role("button", name="UPDATE").click()
    await expect(events(page)).to_have_count(1)
    (only,) = await exported(page)
    assert (only["event"], only["data"]["item"]) == ("INSERT", "latte")
    assert only["data"]["amount"] == "0.123456789012345678901"
    await page.get_by_role("button", name="UPDATE").click()
    await page.get_by_label("Search").fill("")
    assert [one["event"] for one in await exported(page)] == ["INSERT", "INSERT", "UPDATE", "UPDATE"]

    await page.get_by_role("button", name="Clear").click()
    await expect(events(page)).to_have_count(0)
    await dev.psql("insert into orders (item) values ('after')")
    await expect(events(page)).to_have_count(1)


async def test_since_brings_back_what_came_after_and_a_gap_is_told_in_words(dev: Dev, tabs: Tabs) -> None:
    page = await page_of(dev, tabs, "Live")
    await subscribe(page, "table:sessions")
    await dev.psql("insert into sessions (user_id) select null from generate_series(1, 3)")
    await expect(events(page)).to_have_count(3)
    first = (await exported(page))[0]["id"]
    await subscribe(page, "table:sessions:INSERT", first)
    await expect(events(page)).to_have_count(2)

    await events(page).first.click()
    await page.get_by_role("button", name="Start after this one").click()
    await expect(page.get_by_label("Since")).not_to_have_value(first)
    await page.keyboard.press("Enter")
    await expect(events(page)).to_have_count(1)

    # A position of a history that is not there any more.
    await subscribe(page, "table:sessions", "0123456789ab-1")
    await expect(events(page).first).to_contain_text("read the table again")


async def test_a_refusal_stands_at_its_field(dev: Dev, tabs: Tabs) -> None:
    page = await page_of(dev, tabs, "Live")
    button = page.get_by_role("button", name="Subscribe")
    alert = page.get_by_role("alert")
    for channel, since, field, words in (
        ("", "", "Channel", "Enter a channel"),
        ("orders", "", "Channel", "table:orders"),
        ("presence", "1-1", "Since", "no history"),
        ("table:orders", "nonsense", "Since", "since"),
        ("table:a.b.c", "", "Channel", ""),
    ):
        await page.get_by_label("Channel").fill(channel)
        await page.get_by_label("Since").fill(since)
        await button.click()
        await expect(alert).to_have_count(1)
        await expect(alert).to_contain_text(words)
        await expect(page.get_by_label(field)).to_have_attribute("aria-invalid", "true")
    await subscribe(page, "table:orders")
    await expect(alert).to_have_count(0)


async def test_a_table_without_realtime_is_told_with_a_way_to_turn_it_on(dev: Dev, tabs: Tabs) -> None:
    page = await page_of(dev, tabs, "Live")
    await subscribe(page, "table:not_there_yet")
    await expect(page.get_by_text("Realtime is not enabled on this table.")).to_be_visible()
    await page.get_by_role("link", name="Turn realtime on").click()
    await expect(page.get_by_role("heading", name="Tables", level=1)).to_be_visible()


async def test_the_keys_of_the_page_move_pause_search_and_clear(dev: Dev, tabs: Tabs) -> None:
    page = await page_of(dev, tabs, "Live")
    await subscribe(page, "table:users")
    await dev.psql(
        "insert into users (name, email) select 'n' || n, 'e' || n || random() from generate_series(1, 40) n"
    )
    last = page.locator("[aria-posinset='40']")
    await expect(last).to_be_visible()
    await page.get_by_role("heading", name="Live", level=1).focus()
    await page.keyboard.press("k")
    await expect(last).to_have_attribute("aria-current", "true")
    await page.keyboard.press("k")
    before = page.locator("[aria-posinset='39']")
    await expect(before).to_have_attribute("aria-current", "true")
    await expect(before).to_be_focused()
    for _ in range(30):
        await page.keyboard.press("ArrowUp")
    await expect(page.locator("[aria-posinset='9']")).to_be_focused()
    await expect(page.get_by_role("region", name="Details").get_by_role("row", name="name")).to_contain_text(
        "n9"
    )
    # Who has scrolled away stays where he is.
    await dev.psql("insert into users (name, email) values ('late', 'late@example.com')")
    await expect(page.get_by_text("41 kept")).to_be_visible()
    await expect(page.locator("[aria-posinset='9']")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("region", name="Details")).to_have_count(0)
    await page.get_by_role("button", name="Go to the newest").click()
    await expect(page.locator("[aria-posinset='41']")).to_be_visible()
    await page.keyboard.press("p")
    await expect(page.get_by_role("button", name="Pause")).to_have_attribute("aria-pressed", "true")
    await page.keyboard.press("p")
    await page.keyboard.press("/")
    await page.keyboard.type("pxj")
    await expect(page.get_by_label("Search")).to_have_value("pxj")
    await page.get_by_label("Search").fill("")
    await page.get_by_role("heading", name="Live", level=1).focus()
    await page.keyboard.press("x")
    await expect(events(page)).to_have_count(0)


async def test_people_who_come_and_go_are_seen(dev: Dev, tabs: Tabs) -> None:
    page = await page_of(dev, tabs, "Live")
    await subscribe(page, "presence:room:seen")
    await expect(events(page)).to_have_count(1)
    await expect(events(page).first).to_contain_text("sync")
    async with dev.client() as alice:
        await alice.say(type="presence", channel="room:seen", state={"mood": 1.5})
        await expect(events(page).nth(1)).to_contain_text("join")
        await expect(events(page).nth(1)).to_contain_text('alice {"mood": 1.5')
    await expect(events(page).nth(2)).to_contain_text("leave")


async def test_after_a_disconnect_one_connects_again_and_misses_nothing(dev: Dev, tabs: Tabs) -> None:
    page = await page_of(dev, tabs, "Live")
    await subscribe(page, "table:orders")
    await dev.psql("insert into orders (item) values ('before')")
    await expect(events(page)).to_have_count(1)
    headers = {"Authorization": f"Bearer {dev.service_token}"}
    address = f"{dev.url}/projects/demo/realtime/disconnect"
    async with (
        ClientSession(headers=headers) as http,
        http.post(address, json={"user_id": "admin"}) as answer,
    ):
        assert answer.status == 202, await answer.text()
    await expect(page.get_by_role("alert")).to_contain_text("An administrator has disconnected this page.")
    await dev.psql("insert into orders (item) values ('meanwhile')")
    await page.get_by_role("button", name="Connect again").click()
    await expect(events(page).nth(1)).to_contain_text("meanwhile")
    await expect(page.get_by_role("alert")).to_have_count(0)


FORGED = (
    (Event.INSERT, "5", None),
    (Event.INSERT, "null", None),
    (Event.INSERT, '["a", {"b": 1}]', None),
    (Event.UPDATE, "5", '{"id": 1}'),
    (Event.UPDATE, '{"id": 2}', "[]"),
    (Event.DELETE, f'"{"x" * 60_000}"', None),
)


async def record(dev: Dev, event: Event, data: str, old: str | None) -> None:
    """Record a change as whoever has Redis may: the notifier leaves out rows that are no objects."""
    orders = Table("public", "orders")
    line = change_line(line_prefix(orders, event), data, old, "2026-01-31T12:00:00Z", False)
    append = packaged_text("realtime.redis", "lua/append_v2.lua")
    append += "append(read_topic(KEYS[1]), ARGV[1], 1, ARGV[2], ARGV[3], 1000, 600000, 1000000)"
    keys = topic_keys("demo", orders.topic)
    async with redis.Redis.from_url(dev.redis_url) as client:
        await client.eval(append, len(keys), *keys, topic_channel("demo", orders.topic), line, new_epoch())


async def test_rows_that_are_no_objects_are_shown_as_what_they_are(dev: Dev, tabs: Tabs) -> None:
    page = await page_of(dev, tabs, "Live")
    await subscribe(page, "table:orders")
    for forged in FORGED:
        await record(dev, *forged)
    await expect(events(page)).to_have_count(len(FORGED))
    for index in range(len(FORGED)):
        await events(page).nth(index).click()
        await expect(events(page).nth(index)).to_have_attribute("aria-current", "true")
        await expect(page.get_by_role("region", name="Details").get_by_role("row")).not_to_have_count(0)
    await dev.psql("insert into orders (item) values ('an honest one')")
    await expect(events(page).last).to_contain_text("an honest one")


async def test_an_origin_that_may_not_connect_is_told_what_to_set(messages: Stage, tabs: Tabs) -> None:
    messages.write(project=('allowed_origins = ["https://elsewhere.example"]',))
    async with served(messages) as running:
        page = await tabs.open(f"{running.url}/dashboard#project=demo&token={token_for(role='service_role')}")
        await go(page, "Live")
        await page.get_by_label("Channel").fill("table:messages")
        await page.get_by_role("button", name="Subscribe").click()
        await expect(page.get_by_role("alert")).to_have_count(1)
        await expect(page.get_by_role("alert")).to_contain_text(f'add "{running.url}" to allowed_origins')


async def test_a_node_that_dies_is_told_and_nothing_is_missed(messages: Stage, tabs: Tabs) -> None:
    messages.write(project=('allowed_origins = ["*"]',))
    tabs.expected = ("WebSocket connection", "Failed to load resource")
    async with served(messages) as before:
        page = await tabs.open(f"{before.url}/dashboard#project=demo&token={token_for(role='service_role')}")
        await go(page, "Live")
        await subscribe(page, "table:messages")
        await psql(messages.database_url, "insert into messages (body) values ('before')")
        await expect(events(page)).to_have_count(1)
        await before.gateway.stop(signal.SIGKILL)
        await expect(page.get_by_text("There is no connection at the moment.")).to_be_visible()
        await psql(messages.database_url, "insert into messages (body) values ('meanwhile')")
        words = ("gateway", "--port", before.ports[0], "--config", messages.config, *LOCAL)
        async with running(*words, directory=messages.directory):
            await expect(events(page)).to_have_count(2, timeout=START_SECONDS * 1000)
            await expect(events(page).nth(1)).to_contain_text("meanwhile")
            await expect(page.get_by_text("There is no connection at the moment.")).to_have_count(0)

"""The page Tables in a real browser: switches, refusals, what is sent, and the SQL before it runs.

Long by what a table may be called, and by who else may change it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import aiohttp
import pytest
from playwright.async_api import Locator, Page, Route, expect

from tests.acceptance.programs import Dev
from tests.browser_fixture import Tabs
from tests.gateway_fixture import eventually

pytestmark = pytest.mark.standalone  # `realtime dev` brings its own Valkey, which is one server

REFUSED = "Failed to load resource"  # what the browser logs for every answer that is an error
ALL = ["INSERT", "UPDATE", "DELETE"]


async def opened(dev: Dev, tabs: Tabs, token: str | None = None, **answers: Any) -> Page:
    """The page Tables; `answers` stand in for what the service would answer to GET."""
    page = await tabs.open()
    for path, body in answers.items():
        await page.route(f"**/realtime/{path}*", body if callable(body) else partial(_fulfil, body))
    await page.goto(f"{dev.url}/dashboard#project=demo&token={token or dev.service_token}")
    if page.viewport_size and page.viewport_size["width"] < 820:
        await page.get_by_role("button", name="Menu").click()
    await page.get_by_role("link", name="Tables").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Tables")
    return page


async def _fulfil(body: Any, route: Route) -> None:
    await route.fulfill(json=body)


def switch(page: Page, name: str) -> Locator:
    return page.get_by_role("switch", name=name, exact=True)


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("listitem").filter(has=switch(page, name))


async def turn(page: Page, name: str, *, on: bool) -> None:
    await switch(page, name).set_checked(on)
    await expect(switch(page, name)).to_have_attribute("aria-busy", "false")
    await expect(switch(page, name)).to_be_checked(checked=on)


async def rest(dev: Dev, method: str, path: str, **more: Any) -> Any:
    headers = {"Authorization": f"Bearer {dev.service_token}"}
    async with (
        aiohttp.ClientSession(dev.url, headers=headers) as http,
        http.request(method, f"/projects/demo/realtime{path}", **more) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def enabled(dev: Dev, name: str, schema: str = "public") -> dict[str, Any] | None:
    """What the service says of a table that is enabled."""
    tables = (await rest(dev, "GET", "/status"))["tables"]
    found = [one for one in tables if (one["schema"], one["table_name"]) == (schema, name)]
    return found[0] if found else None


@asynccontextmanager
async def table(dev: Dev, name: str, columns: str = "id int primary key, v text") -> AsyncIterator[None]:
    """A table in the shared database, which goes again."""
    await dev.psql(f"create table {name} ({columns})")
    try:
        yield
    finally:
        await dev.psql(f"drop table if exists {name}")


async def test_a_switch_makes_changes_arrive_and_ends_them(dev: Dev, tabs: Tabs) -> None:
    async with table(dev, "ships"), dev.client() as client:
        page = await opened(dev, tabs)
        await expect(switch(page, "public.ships")).not_to_be_checked()
        await expect(switch(page, "public.orders")).to_be_checked()
        assert (await client.subscribe("table:ships"))["enabled"] is False
        await turn(page, "public.ships", on=True)
        await dev.psql("insert into ships values (1)")
        assert await client.hear_rows(1) == [1]
        await turn(page, "public.ships", on=False)
        assert await enabled(dev, "ships") is None
        await dev.psql("insert into ships values (2)")
        await turn(page, "public.ships", on=True)
        await dev.psql("insert into ships values (3)")
        assert await client.hear_rows(1) == [3]


async def test_a_refusal_stands_where_the_switch_is_and_the_switch_goes_back(dev: Dev, tabs: Tabs) -> None:
    tabs.expected = (REFUSED,)
    async with table(dev, "anchors"):
        page = await opened(dev, tabs)
        lock = "begin; lock table anchors; select pg_sleep(60); -- of the test"
        locking = asyncio.create_task(dev.psql(lock))
        locked = "select count(*) from pg_locks where granted and relation = 'anchors'::regclass"
        await eventually(lambda: _says(dev, locked, "1"))
        await switch(page, "public.anchors").click()
        alert = row(page, "public.anchors").get_by_role("alert")
        await expect(alert).to_contain_text("was not turned on")
        await expect(alert).to_contain_text("locked")
        await expect(switch(page, "public.anchors")).not_to_be_checked()
        await dev.psql(
            "select pg_terminate_backend(pid) from pg_stat_activity where query like '%-- of the test'"
        )
        with pytest.raises(AssertionError):
            await locking  # psql says that its connection was ended
        await turn(page, "public.anchors", on=True)
        await expect(page.get_by_role("alert")).to_have_count(0)


async def _says(dev: Dev, statement: str, text: str) -> bool:
    return await dev.psql(statement) == text


async def test_a_table_that_was_dropped_is_said_to_be_gone(dev: Dev, tabs: Tabs) -> None:
    tabs.expected = (REFUSED,)
    async with table(dev, "wrecks"):
        page = await opened(dev, tabs)
        await expect(switch(page, "public.wrecks")).to_be_visible()
    await switch(page, "public.wrecks").click()
    alert = row(page, "public.wrecks").get_by_role("alert")
    await expect(alert).to_contain_text("There is no table public.wrecks")
    await expect(switch(page, "public.wrecks")).not_to_be_checked()
    await alert.get_by_role("button").click()
    await expect(switch(page, "public.wrecks")).to_have_count(0)
    await expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize(
    ("schema", "name", "channel"),
    [
        ("my.schema", "odd:name", 'table:"my.schema"."odd:name"'),
        ("public", 'quo"te', 'table:quo"te'),
        ("public", '"quoted" .', 'table:"""quoted"" ."'),
        ("public", "<img src=x onerror=alert(1)>", "table:<img src=x onerror=alert(1)>"),
        ("عربي", "عائشة", "table:عربي.عائشة"),
    ],
)
async def test_a_table_with_an_odd_name_has_a_switch_and_its_channel(
    dev: Dev, tabs: Tabs, schema: str, name: str, channel: str
) -> None:
    quoted = ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))
    await dev.psql(f'create schema if not exists "{schema}"')
    async with table(dev, quoted), dev.client() as client:
        page = await opened(dev, tabs)
        await turn(page, f"{schema}.{name}", on=True)
        assert (await enabled(dev, name, schema) or {})["events"] == ALL
        link = row(page, f"{schema}.{name}").get_by_role("link", name="See this channel")
        address = await link.get_attribute("href") or ""
        assert parse_qs(address.partition("?")[2])["channel"] == [channel]
        assert (await client.subscribe(channel))["enabled"] is True
        await dev.psql(f"insert into {quoted} values (7)")
        assert await client.hear_rows(1) == [7]
        assert await page.locator("main img").count() == 0


async def test_changes_and_columns_are_chosen_and_kept_by_the_switch(dev: Dev, tabs: Tabs) -> None:
    async with (
        table(dev, "secrets", "id int primary key, name text, password_hash text"),
        dev.client() as client,
    ):
        page = await opened(dev, tabs)
        await row(page, "public.secrets").get_by_role("button", name="Edit").click()
        dialog = page.get_by_role("dialog", name="What public.secrets sends")
        for event in ALL:
            await expect(dialog.get_by_role("checkbox", name=event)).to_be_checked()
            await dialog.get_by_role("checkbox", name=event).uncheck()
        await expect(dialog.get_by_role("alert")).to_contain_text("at least one kind")
        await dialog.get_by_role("checkbox", name="INSERT").check()
        await dialog.get_by_role("radio", name="Only some").check()
        await dialog.get_by_role("checkbox", name="password_hash").uncheck()
        await dialog.get_by_role("button", name="Turn on").click()
        await expect(dialog).to_have_count(0)
        await expect(row(page, "public.secrets")).to_contain_text("2 of 3")
        kept = {"schema": "public", "table_name": "secrets", "events": ["INSERT"], "columns": ["id", "name"]}
        assert await enabled(dev, "secrets") == kept
        # What was chosen holds when the table is switched off and on: nothing hidden leaves by a switch.
        await turn(page, "public.secrets", on=False)
        await turn(page, "public.secrets", on=True)
        assert await enabled(dev, "secrets") == kept
        await client.subscribe("table:secrets")
        await dev.psql("insert into secrets values (1, 'Ann', 'hash')")
        assert (await client.hear())["data"] == {"id": 1, "name": "Ann"}


async def test_the_sql_is_seen_before_it_runs(dev: Dev, tabs: Tabs) -> None:
    async with table(dev, "plans"):
        page = await opened(dev, tabs)
        sql = page.get_by_role("region", name="SQL")
        await row(page, "public.plans").get_by_role("button", name="Show SQL").click()
        dialog = page.get_by_role("dialog", name="SQL that turns public.plans on")
        body = {"schema": "public", "table_name": "plans", "events": ALL}
        preview = await rest(dev, "POST", "/enable/preview", json=body)
        await expect(sql).to_contain_text("plans")
        assert await sql.text_content() == preview["sql"]
        assert await enabled(dev, "plans") is None
        await dialog.get_by_role("button", name="Turn on").click()
        await eventually(lambda: enabled(dev, "plans"))
        await expect(switch(page, "public.plans")).to_have_attribute("aria-busy", "false")
        await row(page, "public.plans").get_by_role("button", name="Show SQL").click()
        await expect(page.get_by_role("dialog", name="SQL that turns public.plans off")).to_be_visible()
        await expect(sql).to_contain_text("plans")
        preview = await rest(dev, "POST", "/disable/preview", json={"table_name": "plans"})
        assert await sql.text_content() == preview["sql"]
        await page.keyboard.press("Escape")
        assert (await enabled(dev, "plans") or {})["events"] == ALL


async def test_the_sql_of_a_choice_follows_the_boxes(dev: Dev, tabs: Tabs) -> None:
    asked: list[Any] = []

    async def fulfil(route: Route) -> None:
        asked.append(route.request.post_data_json)
        await route.fulfill(json={"sql": f"-- <b>{len(asked)}</b>"})

    async with table(dev, "choices"):
        page = await opened(dev, tabs)
        await page.route("**/enable/preview", fulfil)
        await row(page, "public.choices").get_by_role("button", name="Edit").click()
        await page.get_by_role("dialog").get_by_role("button", name="Show SQL").click()
        await expect(page.get_by_role("region", name="SQL")).to_have_text("-- <b>1</b>")
        await page.get_by_role("checkbox", name="DELETE").uncheck()
        await expect(page.get_by_role("region", name="SQL")).to_have_text("-- <b>2</b>")
        body = {"schema": "public", "table_name": "choices"}
        assert asked == [{**body, "events": ALL}, {**body, "events": ALL[:2]}]
        await page.get_by_role("button", name="Cancel").click()
        assert await enabled(dev, "choices") is None


async def test_subscribers_of_all_spellings_of_a_table_are_added_up(dev: Dev, tabs: Tabs) -> None:
    spellings = [
        "orders",
        "public.orders",
        "orders:INSERT",
        '"public"."orders":DELETE',
        "audit.orders",
        '"orders.',
    ]
    channels = [{"channel": f"table:{one}", "subscribers": 10**index} for index, one in enumerate(spellings)]
    parts = [{"channels": channels[:2], "next": "2"}, {"channels": channels[2:], "next": None}]

    async def fulfil(route: Route) -> None:
        await route.fulfill(json=parts["after=" in route.request.url])

    page = await opened(dev, tabs, channels=fulfil)
    await expect(row(page, "public.orders")).to_contain_text("Subscribers: 1,111")
    await expect(row(page, "public.users")).to_contain_text("Subscribers: 0")


async def test_a_subscriber_is_counted(dev: Dev, tabs: Tabs) -> None:
    async with table(dev, "crowds"), dev.client() as client:
        await client.subscribe("table:public.crowds:INSERT")
        page = await opened(dev, tabs)
        await expect(row(page, "public.crowds")).to_contain_text("Subscribers: 1")


async def test_five_thousand_tables_are_searched_and_shown_in_parts(dev: Dev, tabs: Tabs) -> None:
    column = {"name": "id", "type": "bigint"}
    tables = [
        {
            **{"schema": f"tenant_{number % 50:02}", "table_name": f"orders_{number:04}"},
            **{"enabled": False, "events": [], "columns": [column] * 20, "primary_key": []},
        }
        for number in range(5_000)
    ]
    page = await opened(dev, tabs, tables={"tables": tables})
    await expect(page.get_by_text("5,000 tables, 0 on")).to_be_visible()
    assert await page.get_by_role("switch").count() == 100
    await page.get_by_role("button", name="Show 100 more").click()
    await expect(page.get_by_role("switch")).to_have_count(200)
    await page.get_by_label("Search").fill("TENANT_17 orders_49")
    await expect(page.get_by_role("switch")).to_have_count(2)
    await expect(switch(page, "tenant_17.orders_4967")).to_be_visible()
    await row(page, "tenant_17.orders_4967").get_by_role("button", name="none").click()
    await expect(row(page, "tenant_17.orders_4967")).to_contain_text("Without a primary key")
    await page.get_by_label("Search").fill("nothing like this")
    await expect(page.get_by_text("No table fits")).to_be_visible()
    await expect(page).to_have_url(f"{dev.url}/dashboard#/tables?search=nothing+like+this")
    await page.reload()
    await expect(page.get_by_label("Search")).to_have_value("nothing like this")


async def test_what_somebody_else_switched_is_seen_when_the_tab_comes_back(dev: Dev, tabs: Tabs) -> None:
    async with table(dev, "tides"):
        page = await opened(dev, tabs)
        await expect(switch(page, "public.tides")).not_to_be_checked()
        await rest(dev, "POST", "/enable", json={"table_name": "tides"})
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await expect(switch(page, "public.tides")).to_be_checked()


async def test_a_switch_is_used_by_keyboard_and_keeps_the_focus(dev: Dev, tabs: Tabs) -> None:
    async with table(dev, "keys"):
        page = await opened(dev, tabs)
        await switch(page, "public.keys").focus()
        await page.keyboard.press("Space")
        await expect(switch(page, "public.keys")).to_be_checked()
        await eventually(lambda: enabled(dev, "keys"))
        await expect(switch(page, "public.keys")).to_be_focused()
        await page.keyboard.press("Tab")
        await expect(row(page, "public.keys").get_by_role("button", name="Edit")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(row(page, "public.keys").get_by_role("button", name="Edit")).to_be_focused()


async def test_an_ordinary_token_is_told_what_it_needs_and_asks_for_nothing(dev: Dev, tabs: Tabs) -> None:
    page = await opened(dev, tabs, dev.token)
    await expect(page.get_by_text("needs a token with the role service_role")).to_be_visible()
    assert not [url for url in tabs.requested if "/tables" in url.partition("/realtime")[2]]
    assert json.dumps(tabs.requested).count("/channels") == 0


@pytest.mark.parametrize("tabs", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
async def test_a_narrow_page_is_not_wider_than_the_screen(dev: Dev, tabs: Tabs) -> None:
    long = "t" * 63
    async with table(dev, long):
        page = await opened(dev, tabs)
        await expect(switch(page, f"public.{long}")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")

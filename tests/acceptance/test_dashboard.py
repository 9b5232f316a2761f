"""The dashboard as a user goes through it, on a real service: by the names that a screen reader reads.

What a single page does in each case is tested beside this, in test_dashboard_live.py and its neighbours.
Long, since each walk goes through several pages.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from realtime.auth.tokens import issue
from tests.acceptance.conftest import Stage
from tests.acceptance.dashboard_pages import go
from tests.acceptance.programs import Dev, psql, running
from tests.acceptance.served import LOCAL, served
from tests.browser_fixture import Tabs, opened_tabs
from tests.gateway_fixture import Client, token_for

pytestmark = pytest.mark.standalone  # `realtime dev` brings its own Valkey, which is one server

REFUSED = "Failed to load resource"  # what the browser logs for every answer that is an error
PATIENCE_MS = 60_000  # for processes to do something
PAGES = ("Overview", "Tables", "Live", "Presence", "Broadcast", "Connections", "Settings")
NEEDS_MORE = "needs a token with the role service_role"


def fragment(url: str, token: str, project: str = "demo") -> str:
    return f"{url}/dashboard#project={project}&token={token}"


async def sign_in(page: Page, project: str, token: str) -> None:
    form = page.get_by_role("form", name="Sign in")
    await form.get_by_label("Project").fill(project)
    await form.get_by_label("Token").fill(token)
    await form.get_by_role("button", name="Sign in").click()


def events(page: Page) -> Locator:
    return page.get_by_role("list", name="Events").get_by_role("listitem")


async def is_subscribed(page: Page) -> None:
    await expect(page.get_by_role("status").get_by_text("Subscribed", exact=True)).to_be_visible()


async def subscribe(page: Page, channel: str) -> None:
    await go(page, "Live")
    await page.get_by_label("Channel").fill(channel)
    await page.get_by_role("button", name="Subscribe").click()
    await is_subscribed(page)


def switch(page: Page, name: str) -> Locator:
    return page.get_by_role("switch", name=name, exact=True)


async def turn(page: Page, name: str, *, on: bool) -> None:
    await switch(page, name).set_checked(on)
    await expect(switch(page, name)).to_have_attribute("aria-busy", "false", timeout=PATIENCE_MS)
    await expect(switch(page, name)).to_be_checked(checked=on)


@asynccontextmanager
async def table(dev: Dev, name: str) -> AsyncIterator[None]:
    """A table in the shared database, which goes again."""
    await dev.psql(f"create table {name} (id int primary key, state text)")
    try:
        yield
    finally:
        await dev.psql(f"drop table {name}")


async def test_a_switch_an_insert_and_its_update_are_seen_until_the_switch_is_off(
    dev: Dev, tabs: Tabs
) -> None:
    async with table(dev, "lamps"):
        page = await tabs.open(f"{dev.url}/dashboard")
        await sign_in(page, "demo", dev.service_token)
        await expect(page.get_by_role("navigation")).to_be_visible()
        await expect(page.get_by_text("Deliveries per second")).to_be_visible()
        await go(page, "Tables")
        await turn(page, "public.lamps", on=True)
        row = page.get_by_role("listitem").filter(has=switch(page, "public.lamps"))
        await row.get_by_role("link", name="See this channel").click()
        await expect(page.get_by_role("heading", name="Live", level=1)).to_be_visible()
        await expect(page.get_by_label("Channel")).to_have_value("table:lamps")
        await is_subscribed(page)

        await dev.psql("insert into lamps values (1, 'dark')")
        await expect(events(page)).to_have_count(1)
        await expect(events(page).first).to_contain_text('state "dark"')
        await dev.psql("update lamps set state = 'lit'")
        await expect(events(page)).to_have_count(2)
        await expect(events(page).last).to_contain_text('state "dark" → "lit"')
        await go(page, "Tables")
        await expect(row).to_contain_text("Subscribers: 1", timeout=PATIENCE_MS)

        await turn(page, "public.lamps", on=False)
        await dev.psql("insert into lamps values (2, 'unseen')")
        await turn(page, "public.lamps", on=True)
        await dev.psql("insert into lamps values (3, 'seen')")
        # The subscription went on under the same history.
        await go(page, "Live")
        await expect(events(page).last).to_contain_text('state "seen"')
        assert "unseen" not in " ".join(await events(page).all_inner_texts())
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("form", name="Sign in")).to_be_visible()
        assert dev.service_token not in dev.program.errors


async def test_two_people_meet_and_one_disconnects_the_other(dev: Dev, browser: Browser) -> None:
    async with opened_tabs(browser) as of_admin, opened_tabs(browser) as of_alice:
        admin = await of_admin.open(fragment(dev.url, dev.service_token))
        alice = await of_alice.open(fragment(dev.url, dev.token))
        await expect(admin.get_by_role("navigation")).to_be_visible()
        assert admin.url == alice.url == f"{dev.url}/dashboard#/overview"

        for page in (admin, alice):
            await go(page, "Presence")
            await page.get_by_label("Channel").fill("room:day")
            await page.get_by_role("button", name="Be present").click()
            await expect(page.get_by_role("button", name="Leave")).to_be_visible()
        people = admin.get_by_role("list", name="People").get_by_role("listitem")
        await expect(people).to_have_count(2)
        await expect(people.filter(has_text="this page")).to_contain_text("admin")
        await expect(admin.get_by_role("list", name="Timeline")).to_contain_text("alice joined")

        await subscribe(admin, "room:day")
        await go(alice, "Broadcast")
        await alice.get_by_label("Channel").fill("room:day")
        await alice.get_by_label("Payload").fill('{"text": "good morning"}')
        await alice.get_by_role("button", name="Send").click()
        await expect(alice.get_by_text("Round trip")).to_be_visible()
        await expect(events(admin)).to_have_count(1)
        await expect(events(admin).first).to_contain_text("good morning")

        await go(admin, "Connections")
        await admin.get_by_label("User").fill("alice")
        connections = admin.get_by_role("table", name="Connections").get_by_role("row", name="alice")
        await expect(connections).to_have_count(1)
        connection_id = await connections.get_by_role("link").inner_text()
        await connections.get_by_role("link").click()
        await expect(admin.get_by_text("alice connected from 127.0.0.1 with Chrome")).to_be_visible()
        await expect(admin.get_by_text("It is still connected")).to_be_visible()
        await expect(admin.get_by_text("room:day", exact=True)).to_be_visible()

        await admin.get_by_role("button", name="Disconnect").click()
        dialog = admin.get_by_role("dialog", name="Disconnect alice?")
        await dialog.get_by_role("button", name="Disconnect").click()
        await expect(admin.get_by_text("One connection was closed.")).to_be_visible()
        await expect(alice.get_by_role("alert")).to_contain_text("An administrator has disconnected")
        await expect(admin.get_by_text("An administrator disconnected it")).to_be_visible()
        await admin.get_by_role("link", name="Back to the list").click()
        await admin.get_by_label("User").fill("alice")
        ended = admin.get_by_role("table", name="History").get_by_role("row", name=connection_id)
        await expect(ended.filter(has_text="disconnect 4410")).to_have_count(1)
        await go(admin, "Presence")
        await admin.get_by_label("Channel").fill("room:day")
        await expect(people).to_have_count(1)
        await alice.get_by_role("button", name="Connect again").click()
        await expect(alice.get_by_role("alert")).to_have_count(0)


async def test_disconnect_closes_a_client_with_4410(dev: Dev, tabs: Tabs) -> None:
    async with dev.client() as client:
        # It reads all the time, as clients do, so it answers the close in time.
        ending = asyncio.create_task(_end(client), name="read until the close")
        page = await tabs.open(dev.dashboard)
        await go(page, "Connections")
        connection_id = client.connected["connection_id"]
        row = page.get_by_role("table", name="Connections").get_by_role("row", name=connection_id)
        await row.get_by_role("button", name="Disconnect").click()
        assert await ending == ("disconnected", 4410)


async def _end(client: Client) -> tuple[str, int]:
    """What a client is told at last, and the code with which it is closed."""
    return (await client.hear())["code"], await client.hear_close()


async def test_a_token_without_service_role_sees_what_it_may_and_words_for_the_rest(
    dev: Dev, tabs: Tabs
) -> None:
    page = await tabs.open(fragment(dev.url, dev.token))
    await expect(page.get_by_text("Clients connected")).to_be_visible()
    for name in PAGES:
        await go(page, name)
        needs = page.get_by_text(NEEDS_MORE)
        if name in ("Live", "Presence", "Broadcast"):
            await expect(page.get_by_label("Channel")).to_be_editable()
            await expect(needs).to_have_count(0)
        else:
            await expect(needs).to_have_count(1)
    await subscribe(page, "table:sessions")
    await dev.psql("insert into sessions (user_id) values (null)")
    await expect(events(page)).to_have_count(1)
    # It asked for nothing that would be refused: `tabs` finds no error, and these were asked of REST.
    asked = {url.partition("/realtime")[2].partition("?")[0] for url in tabs.requested if "/projects/" in url}
    assert asked == {"/status", "/ws"}


async def test_a_token_that_runs_out_leads_to_the_form_and_a_newer_one_leads_back(
    dev: Dev, tabs: Tabs
) -> None:
    secret = (dev.program.directory / "data" / "jwt-secret").read_text().strip()
    page = await tabs.open(fragment(dev.url, issue(secret, "demo", "ann", "authenticated", 15, time.time())))
    await subscribe(page, "room:short")
    await expect(page.get_by_text("Your token ends in")).to_be_visible(timeout=PATIENCE_MS)
    await expect(page.get_by_role("form", name="Sign in")).to_be_visible(timeout=PATIENCE_MS)
    await expect(page.get_by_role("alert")).to_contain_text("Your token has expired")
    await sign_in(page, "demo", dev.token)
    await expect(page.get_by_role("heading", name="Live", level=1)).to_be_visible()
    await expect(page.get_by_label("Channel")).to_have_value("room:short")
    await is_subscribed(page)


async def test_a_wrong_fragment_leads_to_the_form_with_the_reason(dev: Dev, tabs: Tabs) -> None:
    tabs.expected = (REFUSED,)
    page = await tabs.open()
    unsigned = "eyJhbGciOiJub25lIn0.eyJyb2xlIjoic2VydmljZV9yb2xlIn0."
    for project, token, words in (
        ("demo", "garbage", "was refused"),
        ("nowhere", dev.service_token, "no project of that name"),
        ("demo", unsigned, "was refused"),
        ("%3Cimg%20src=x%3E", dev.service_token, "A project id has"),
    ):
        await page.goto("about:blank")
        await page.goto(fragment(dev.url, token, project))
        await expect(page.get_by_role("alert")).to_contain_text(words)
        await expect(page.get_by_role("form", name="Sign in")).to_be_visible()
        assert page.url == f"{dev.url}/dashboard#/overview"
    await sign_in(page, "demo", dev.token)
    await expect(page.get_by_role("navigation")).to_be_visible()


async def test_a_node_that_is_killed_is_told_and_comes_back(messages: Stage, tabs: Tabs) -> None:
    tabs.expected = (REFUSED, "WebSocket connection")
    messages.write(project=('allowed_origins = ["*"]',))
    async with served(messages) as service:
        overview = await tabs.open(fragment(service.url, token_for(role="service_role")))
        await expect(overview.get_by_text("Deliveries per second")).to_be_visible()
        live = await tabs.open(fragment(service.url, token_for()))
        await subscribe(live, "table:messages")
        await _say(messages, "before")
        await expect(events(live)).to_have_count(1)

        service.gateway.send(signal.SIGKILL)
        await expect(overview.get_by_role("alert")).to_contain_text(
            "This node cannot be reached.", timeout=PATIENCE_MS
        )
        await expect(live.get_by_text("There is no connection at the moment.")).to_be_visible()
        await _say(messages, "meanwhile")
        again = ("gateway", "--port", service.ports[0], "--config", messages.config, *LOCAL)
        async with running(*again, directory=messages.directory):
            await expect(overview.get_by_text("This node cannot be reached.")).to_have_count(
                0, timeout=PATIENCE_MS
            )
            await expect(live.get_by_text("There is no connection")).to_have_count(0, timeout=PATIENCE_MS)
            await _say(messages, "after")
            await expect(events(live)).to_have_count(3)
            said = await events(live).all_inner_texts()
            assert ["before" in said[0], "meanwhile" in said[1], "after" in said[2]] == [True] * 3


async def _say(stage: Stage, text: str) -> None:
    await psql(stage.database_url, f"insert into messages (body) values ('{text}')")


async def tab_to(page: Page, target: Locator, key: str = "Tab") -> None:
    """Press Tab until something has the focus."""
    for _ in range(40):
        if await target.evaluate("element => element === document.activeElement"):
            return
        await page.keyboard.press(key)
    raise AssertionError(f"{key} does not lead to {target}")


async def test_all_is_done_by_keyboard(dev: Dev, tabs: Tabs) -> None:
    async with table(dev, "knobs"):
        page = await tabs.open(f"{dev.url}/dashboard")
        await tab_to(page, page.get_by_label("Project"))
        await page.keyboard.type("demo")
        await tab_to(page, page.get_by_label("Token"))
        await page.keyboard.insert_text(dev.service_token)
        await tab_to(page, page.get_by_role("button", name="Sign in"))
        await page.keyboard.press("Space")
        await expect(page.get_by_role("navigation")).to_be_visible()
        for name in (*PAGES, "Tables"):
            # The navigation stands before the page, whose heading took the focus.
            await tab_to(page, page.get_by_role("link", name=name), "Shift+Tab")
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("heading", name=name, level=1)).to_be_focused()

        await tab_to(page, page.get_by_label("Search"))
        await page.keyboard.type("knobs")
        await expect(page.get_by_text("1 of ")).to_contain_text(" tables, ")
        await tab_to(page, switch(page, "public.knobs"))
        await page.keyboard.press("Enter")
        await expect(switch(page, "public.knobs")).to_be_checked()
        await expect(switch(page, "public.knobs")).to_have_attribute("aria-busy", "false")
        show = page.get_by_role("button", name="Show SQL")
        await tab_to(page, show)
        await page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="SQL that turns public.knobs off")
        await expect(dialog).to_be_visible()
        # The page behind a dialog is out of reach.
        for _ in range(8):
            await page.keyboard.press("Tab")
            assert await page.evaluate(
                "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
            )
        await page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
        await expect(show).to_be_focused()


@pytest.mark.parametrize("tabs", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
async def test_a_phone_with_a_keyboard_goes_by_the_menu(dev: Dev, tabs: Tabs) -> None:
    page = await tabs.open(dev.dashboard)
    menu = page.get_by_role("button", name="Menu")
    await tab_to(page, menu)
    await expect(page.get_by_role("link", name="Live")).to_be_hidden()
    await page.keyboard.press("Enter")
    await tab_to(page, page.get_by_role("link", name="Connections"))
    await page.keyboard.press("Escape")
    await expect(menu).to_be_focused()
    await page.keyboard.press("Enter")
    await tab_to(page, page.get_by_role("link", name="Connections"))
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Connections", level=1)).to_be_focused()
    await expect(menu).to_have_attribute("aria-expanded", "false")

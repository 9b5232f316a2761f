"""The dashboard's page Live under a load of 1,000 changes a second.

What the page took is printed, for a person to judge; asserted is what must hold on any machine. The run is
short unless `REALTIME_SECONDS` says otherwise.
"""

from __future__ import annotations

import asyncio
import os
import re
from typing import Any

import asyncpg
from playwright.async_api import CDPSession, Page, expect

from tests.acceptance.dashboard_pages import go
from tests.acceptance.programs import Dev
from tests.browser_fixture import Tabs
from tests.gateway_fixture import eventually

SECONDS = float(os.environ.get("REALTIME_SECONDS", "6"))
PER_SECOND = 1_000
BATCH = 100
MOST_KEPT = 10_000
MOST_NODES = 2_500
DRAIN_SECONDS = 60.0

WATCH = """() => {
    window.watched = {long: 0, tasks: 0, longest: 0, frames: 0}
    new PerformanceObserver((list) => {
        for (const {duration} of list.getEntries()) {
            watched.tasks++
            watched.long += duration
            watched.longest = Math.max(watched.longest, duration)
        }
    }).observe({type: "longtask"})
    const frame = () => { watched.frames++; requestAnimationFrame(frame) }
    frame()
}"""

# What stands where in the list, and nothing of it is on its way.
PLACES = """() => [...document.querySelectorAll(".event")]
    .map((item) => [item.textContent, item.getBoundingClientRect().y])
    .filter(([, y]) => y > 400 && y < 700)"""
STAND_STILL = """async () => {
    const list = document.querySelector(".events")
    for (let last = -1; last !== list.scrollTop;) {
        last = list.scrollTop
        await new Promise((resolve) => setTimeout(resolve, 200))
    }
}"""

# Half of a batch are new rows, half are changes of them.
CHANGE = (
    "insert into orders (item, amount) select 'load ' || n, n * 1.10 from generate_series(1, $1::int) n",
    "update orders set status = 'paid', amount = 1 where id > (select max(id) - $1::int from orders)",
)


async def change(database_url: str, seconds: float) -> int:
    """Change `orders` so many times a second; return how many changes that were."""
    clock = asyncio.get_running_loop()
    connection = await asyncpg.connect(database_url)
    done = 0
    try:
        began = clock.time()
        while clock.time() - began < seconds:
            for statement in CHANGE:
                done += int((await connection.execute(statement, BATCH // 2)).split()[-1])
            await asyncio.sleep(max(0.0, began + done / PER_SECOND - clock.time()))
    finally:
        await connection.close()
    return done


async def heap_mib(browser: CDPSession) -> float:
    await browser.send("HeapProfiler.collectGarbage")
    used = await browser.send("Runtime.getHeapUsage")
    return float(used["usedSize"]) / 2**20


async def busy_seconds(browser: CDPSession) -> float:
    """The processor time that the page's main thread has used for its tasks."""
    answer = await browser.send("Performance.getMetrics")
    return float({one["name"]: one["value"] for one in answer["metrics"]}["TaskDuration"])


async def number_of(page: Page, name: str) -> int:
    """A figure of the page: the number that stands under its name."""
    text = await page.locator("dl.live-state > div", has_text=name).locator("dd").inner_text()
    return int(text.replace(",", ""))


async def test_a_thousand_changes_a_second(dev: Dev, tabs: Tabs) -> None:
    page = await tabs.open(dev.dashboard)
    await go(page, "Live")
    await page.get_by_label("Channel").fill("table:orders")
    await page.get_by_role("button", name="Subscribe").click()
    await page.get_by_text("Subscribed", exact=True).wait_for()
    items = page.get_by_role("list", name="Events").get_by_role("listitem")
    await dev.psql("insert into orders (item) values ('first')")
    await items.first.wait_for()
    browser = await page.context.new_cdp_session(page)
    await browser.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = await heap_mib(browser)
    await page.evaluate(WATCH)
    busy = await busy_seconds(browser)

    changing = asyncio.create_task(change(dev.database_url, SECONDS))
    nodes = 0
    while not changing.done():
        await asyncio.sleep(1)
        nodes = max(nodes, await page.evaluate("document.querySelectorAll('*').length"))
    sent = await changing + 1
    await eventually(lambda: _has_come(page, sent), DRAIN_SECONDS)
    watched: dict[str, Any] = await page.evaluate("watched")
    busy = await busy_seconds(browser) - busy
    after = await heap_mib(browser)
    print(  # noqa: T201
        f"{sent - 1:,} changes in {SECONDS:g} s: {watched['tasks']} long tasks, "
        f"{watched['long'] / SECONDS / 10:.1f} % of the time, the longest {watched['longest']:.0f} ms; "
        f"the main thread computed for {busy / SECONDS * 100:.0f} % of the time; "
        f"{watched['frames'] / SECONDS:.0f} frames a second; {nodes} elements at most; "
        f"heap {before:.1f} MiB, then {after:.1f} MiB"
    )

    assert nodes < MOST_NODES
    kept = min(sent, MOST_KEPT)
    await expect(items.last).to_have_attribute("aria-posinset", str(kept))
    assert await items.last.get_attribute("aria-setsize") == str(kept)

    # Whoever has scrolled away keeps his place, though the oldest events go.
    await page.locator(".events").hover()
    await page.mouse.wheel(0, -20_000)
    await expect(page.get_by_role("button", name="Go to the newest")).to_be_visible()
    await page.evaluate(STAND_STILL)
    places = await page.evaluate(PLACES)
    assert len(places) > 5
    sent += await change(dev.database_url, 1)
    await eventually(lambda: _has_come(page, sent), DRAIN_SECONDS)
    await page.evaluate(STAND_STILL)
    assert await page.evaluate(PLACES) == places

    # The page answers while changes go on: what comes then is counted, and nothing moves.
    changing = asyncio.create_task(change(dev.database_url, 2))
    await page.get_by_role("button", name="Pause").click()
    held = await items.all_inner_texts()
    came = await changing
    sent += came
    await eventually(lambda: _has_come(page, sent), DRAIN_SECONDS)
    waiting = page.get_by_text(re.compile("Paused: [0-9,]+ more came"))
    assert 0 < int(re.sub(r"\D", "", await waiting.inner_text())) <= came
    assert await items.all_inner_texts() == held
    await page.get_by_role("button", name="Pause").click()
    await page.get_by_role("button", name="Go to the newest").click()
    await expect(items.last).to_have_attribute("aria-posinset", str(min(sent, MOST_KEPT)))


async def _has_come(page: Page, count: int) -> bool:
    return await number_of(page, "Received") == count

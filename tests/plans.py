"""What a statement of the notifier reads, by its plan."""

from __future__ import annotations

import json
from typing import Any

from notifier.feed.feed import Feed
from notifier.feed.snapshots import bounds, parse_snapshot, seen_since
from notifier.sessions import query


async def pages_touched(connection: Any, name: str, *arguments: Any) -> int:
    """How many pages a statement of the notifier reads; it is undone."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        plan = await connection.fetchval(f"explain (analyze, buffers, format json) {query(name)}", *arguments)
    finally:
        await transaction.rollback()
    top = json.loads(plan)[0]["Plan"]
    return int(top["Shared Hit Blocks"]) + int(top["Shared Read Blocks"])


async def ranges_ahead(connection: Any, feed: Feed) -> tuple[list[str], list[str]]:
    """The ranges of what was committed since the feed's current batch, as statements take them."""
    now = parse_snapshot(await connection.fetchval("select pg_current_snapshot()::text"))
    return bounds(seen_since(feed.s2, now))

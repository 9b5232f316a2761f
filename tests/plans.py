"""What a statement of the notifier reads, by its plan."""

from __future__ import annotations

import json
from typing import Any

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

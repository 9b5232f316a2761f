"""What is in Redis, key by key, for tests of who can make it grow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from realtime.redis.client import Command, Store

NODES = b"realtime:node"  # what nodes say of themselves changes by itself


@dataclass(frozen=True)
class Key:
    """A key: what it holds, the milliseconds that it lives (-1: for ever), and the bytes that it takes."""

    content: Any
    ttl_ms: int
    size: int


async def keys_in(store: Store) -> dict[str, Key]:
    """Every key but those of nodes, on all servers."""
    found = [name for names in (await store.everywhere("KEYS", "*")).values() for name in names]
    names = sorted(name for name in found if not name.startswith(NODES))
    commands = [
        Command(name, words)
        for name in names
        for words in (("DUMP", name), ("PTTL", name), ("MEMORY", "USAGE", name, "SAMPLES", 0))
    ]
    facts = iter(await store.call_many(commands))
    return {name.decode(): Key(*three) for name, *three in zip(names, facts, facts, facts, strict=True)}


async def changed_since(store: Store, before: dict[str, Key]) -> dict[str, Key]:
    """The keys that are new since then, or hold something else, or live longer."""
    return {
        name: key
        for name, key in (await keys_in(store)).items()
        if name not in before
        or key.content != before[name].content
        or (key.ttl_ms > before[name].ttl_ms >= 0)
        or (key.ttl_ms == -1 != before[name].ttl_ms)
    }

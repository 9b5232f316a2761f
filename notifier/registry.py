"""The notifiers' door to Redis: who is signed in, and who holds the lease of which project.

Called by the election alone. Redis' own errors leave as Unavailable. Decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from realtime import keys
from realtime.scripts import Call, Script
from realtime.store import Store, redis_errors_as_unavailable

# An answer takes a millisecond; a leader that waits longer for one could lose its lease by it.
LOOK_TIMEOUT_SECONDS = 2.0


class Wish(StrEnum):
    """What a notifier wants of a lease."""

    TAKE = "take"  # it has just become leader, whoever was it before
    RENEW = "renew"  # it leads
    LEAVE = "leave"  # it does not


@dataclass(frozen=True, slots=True)
class Claim:
    """One project's lease: what is wished, and the state that it tells of."""

    project: str
    wish: Wish
    state: str = ""


class Registry:
    """Signs this notifier in and out, under its id."""

    def __init__(self, store: Store, notifier_id: str, ttl_seconds: float) -> None:
        self._id = notifier_id
        self._ttl_ms = int(ttl_seconds * 1000)
        self._fleet = Script(store, "fleet_v1")
        self._lease = Script(store, "lease_v1")

    async def sign_in(self, facts: bytes) -> dict[str, bytes]:
        """Be one of the fleet for a while, by these facts (JSON); return the facts of all."""
        return await self._sign(facts)

    async def sign_out(self) -> None:
        await self._sign(b"")

    async def leases(self, claims: Iterable[Claim]) -> list[str | None]:
        """Renew, take or give up leases; return who holds each of them then, None for nobody."""
        calls: list[Call] = [
            (
                [keys.notifier(claim.project)],
                [
                    self._id,
                    claim.wish.value,
                    msgspec.json.encode({"state": claim.state, "holder": self._id}),
                    self._ttl_ms,
                ],
            )
            for claim in claims
        ]
        holders = await _call(self._lease, calls)
        return [None if holder is None else holder.decode() for holder in holders]

    async def _sign(self, facts: bytes) -> dict[str, bytes]:
        names = [keys.notifiers(), keys.notifier_facts()]
        (answer,) = await _call(self._fleet, [(names, [self._id, facts, self._ttl_ms])])
        return {name.decode(): fact for name, fact in zip(answer[::2], answer[1::2], strict=True)}


async def _call(script: Script, calls: Sequence[Call]) -> list[Any]:
    async with redis_errors_as_unavailable(), asyncio.timeout(LOOK_TIMEOUT_SECONDS):
        return await script.call_many(calls)

"""The notifiers' door to Redis: who is signed in, and who holds the lease of which project.

Called by the election alone. Redis' own errors leave as Unavailable. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from realtime import names
from realtime.errors import Unavailable
from realtime.redis.client import Store, checked, unavailable
from realtime.redis.scripts import Call, Script

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


class LeaseStore:
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

    async def leases(self, claims: Iterable[Claim]) -> list[str | Unavailable | None]:
        """Renew, take or give up leases; return who holds each of them then, None for nobody.

        Where one alone cannot be had, as one that somebody has overwritten, the reason stands in its place.
        """
        calls: list[Call] = [
            (
                [names.notifier(claim.project)],
                [
                    self._id,
                    claim.wish.value,
                    msgspec.json.encode({"state": claim.state, "holder": self._id}),
                    self._ttl_ms,
                ],
            )
            for claim in claims
        ]
        holders = await self._lease.outcomes(calls, LOOK_TIMEOUT_SECONDS)
        if holders and all(isinstance(holder, Exception) for holder in holders):
            checked(holders)
        return [_holder(answer) for answer in holders]

    async def _sign(self, facts: bytes) -> dict[str, bytes]:
        lease_keys = [names.notifiers(), names.notifier_facts()]
        calls: list[Call] = [(lease_keys, [self._id, facts, self._ttl_ms])]
        (answer,) = await self._fleet.call_many(calls, LOOK_TIMEOUT_SECONDS)
        signed = zip(answer[::2], answer[1::2], strict=True)
        return {name.decode(errors="replace"): fact for name, fact in signed}


def _holder(answer: Any) -> str | Unavailable | None:
    if isinstance(answer, Exception):
        return unavailable(answer)
    return None if answer is None else str(answer.decode(errors="replace"))

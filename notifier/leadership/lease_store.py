"""The notifiers' access to Redis: which notifiers are signed in, and which holds each project's lease.

The election alone calls it. Errors of Redis are raised as Unavailable. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from realtime import names
from realtime.errors import Unavailable
from realtime.redis.client import Store
from realtime.redis.failures import checked, unavailable
from realtime.redis.scripts import Call, Script

# An answer takes a millisecond; a leader that waited longer than this could lose its lease meanwhile.
LOOK_TIMEOUT_SECONDS = 2.0


class Wish(StrEnum):
    """What a notifier wants to do with a lease."""

    TAKE = "take"  # it has just become leader: it replaces any holder
    RENEW = "renew"  # it leads: it keeps the lease
    LEAVE = "leave"  # it does not lead: it gives up a lease of its own


@dataclass(frozen=True, slots=True)
class Claim:
    """A wish for one project's lease, with the feed's state and the number of its changes to store in it."""

    project: str
    wish: Wish
    state: str = ""
    changes: int = 0


class LeaseStore:
    """Signs this notifier in and out under its id, and keeps its leases."""

    def __init__(self, store: Store, notifier_id: str, ttl_seconds: float) -> None:
        self._id = notifier_id
        self._ttl_ms = int(ttl_seconds * 1000)
        self._fleet = Script(store, "fleet_v1")
        self._lease = Script(store, "lease_v1")

    async def sign_in(self, facts: bytes) -> dict[str, bytes]:
        """Join the fleet for the ttl, with these facts (JSON); return the facts of all notifiers."""
        return await self._sign(facts)

    async def sign_out(self) -> None:
        await self._sign(b"")

    async def leases(self, claims: Iterable[Claim]) -> list[str | Unavailable | None]:
        """Renew, take or give up leases; return who holds each of them then, None for nobody.

        If some calls fail, for example for a key of a wrong type, their errors take the holders' places.
        """
        calls: list[Call] = [
            (
                [names.notifier(claim.project)],
                [
                    self._id,
                    claim.wish.value,
                    msgspec.json.encode({"state": claim.state, "holder": self._id, "changes": claim.changes}),
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


def _holder(answer: Exception | bytes | None) -> str | Unavailable | None:
    if isinstance(answer, Exception):
        return unavailable(answer)
    return None if answer is None else answer.decode(errors="replace")

"""Counts the bytes of presence that a project's clients have in Redis through this node.

The presence writer asks before it sends an entry. An entry counts until Redis has removed it, or until its
connection is gone; the number stands on the presence itself. Pure.
"""

from __future__ import annotations

from typing import Protocol

from realtime.errors import ClientError, Code

ENTRY_BYTES = 600  # besides the entry; Redis takes so much for an entry that is alone in its topic


class Countable(Protocol):
    """One presence; this module alone changes what is counted for it."""

    counted_bytes: int  # 0: nothing is counted


class PresenceQuota:
    """How many presences of a project are counted, and their bytes."""

    def __init__(self) -> None:
        self._count = 0
        self._total = 0  # bytes

    def __repr__(self) -> str:
        return f"<PresenceQuota {self._count} entries, {self._total} bytes>"

    def take(self, presence: Countable, size: int, limit: int) -> int:
        """Count an entry in place of the earlier one; return the bytes counted before, 0 without one.

        ClientError `rate_limited` if the project would exceed `limit`; a `limit` of 0 means no limit. An
        entry that is no larger than the earlier one is always accepted.
        """
        before, size = presence.counted_bytes, size + ENTRY_BYTES
        growth = size - before
        if limit and growth > 0 and self._total + growth > limit:
            raise ClientError(
                Code.RATE_LIMITED, f"this project keeps as much presence as it may: {limit} bytes"
            )
        self._count_for(presence, size)
        return before

    def undo(self, presence: Countable, size: int, before: int) -> None:
        """Undo `take` after Redis did not take an entry of this size, unless another entry is counted now."""
        if presence.counted_bytes == size + ENTRY_BYTES:
            self._count_for(presence, before)

    def release(self, presence: Countable) -> None:
        """Stop counting an entry: it is removed, or is being removed."""
        self._count_for(presence, 0)

    def _count_for(self, presence: Countable, size: int) -> None:
        self._count += (size > 0) - (presence.counted_bytes > 0)
        self._total += size - presence.counted_bytes
        presence.counted_bytes = size

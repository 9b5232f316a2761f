"""Counts the bytes of presence that a project's clients have in Redis through this node.

The presence writer asks before it sends an entry. An entry counts until Redis has removed it, or until its
connection is gone. Pure.
"""

from __future__ import annotations

from realtime.errors import ClientError, Code

ENTRY_BYTES = 600  # besides the entry; Redis takes so much for an entry that is alone in its topic

Key = tuple[str, str]  # connection id and topic


class PresenceQuota:
    """Presence bytes by connection and topic."""

    def __init__(self) -> None:
        self._entries: dict[Key, int] = {}
        self._total = 0  # all bytes in `_entries`

    def __repr__(self) -> str:
        return f"<PresenceQuota {len(self._entries)} entries, {self._total} bytes>"

    def take(self, key: Key, size: int, limit: int) -> int | None:
        """Count an entry in place of the earlier one; return the bytes of the earlier one, None without one.

        ClientError `rate_limited` if the project would exceed `limit`; a `limit` of 0 means no limit. An
        entry that is no larger than the earlier one is always accepted.
        """
        before, size = self._entries.get(key), size + ENTRY_BYTES
        growth = size - (before or 0)
        if limit and growth > 0 and self._total + growth > limit:
            raise ClientError(
                Code.RATE_LIMITED, f"this project keeps as much presence as it may: {limit} bytes"
            )
        self._entries[key] = size
        self._total += growth
        return before

    def undo(self, key: Key, size: int, before: int | None) -> None:
        """Undo `take` after Redis did not take an entry of this size, unless another entry is counted now."""
        if self._entries.get(key) != size + ENTRY_BYTES:
            return
        self.release(key)
        if before is not None:
            self._entries[key] = before
            self._total += before

    def release(self, key: Key) -> None:
        """Stop counting an entry: it is removed, or is being removed."""
        self._total -= self._entries.pop(key, 0)

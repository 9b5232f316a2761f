"""What a project's clients have put into Redis as presence by this node, in bytes.

Asked before an entry is sent. An entry that nobody ended in Redis counts until its connection is gone. Pure.
"""

from __future__ import annotations

from realtime.errors import ClientError, Code

ENTRY_BYTES = 600  # beside the entry; Redis takes that much for one under a channel of its own

Key = tuple[str, str]  # connection id and topic


class PresenceQuota:
    """Bytes by connection and topic."""

    def __init__(self) -> None:
        self._entries: dict[Key, int] = {}
        self._total = 0  # of the bytes above

    def __repr__(self) -> str:
        return f"<PresenceQuota {len(self._entries)} entries, {self._total} bytes>"

    def take(self, key: Key, size: int, limit: int) -> int | None:
        """Count an entry in place of the one before; return what that was counted as, None if there was none.

        ClientError `rate_limited` if the project has too much then; a `limit` of 0 is none. An entry that
        is no larger than the one before is always taken.
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
        """Redis did not take an entry of this size; nothing happens if another one is counted by now."""
        if self._entries.get(key) != size + ENTRY_BYTES:
            return
        self.release(key)
        if before is not None:
            self._entries[key] = before
            self._total += before

    def release(self, key: Key) -> None:
        """An entry is there no more, or will not be."""
        self._total -= self._entries.pop(key, 0)

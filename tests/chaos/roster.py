"""The list of those who are present under a channel, as one watcher received it: pure.

A join of somebody who is present and a leave of somebody who is not present are violations, since each join
and each leave is sent once. A `sync` begins a new list.
"""

from __future__ import annotations

from typing import Any

from tests.chaos.referee import BROKEN, DUPLICATE, GHOST, LOSS, WRONG, Referee
from tests.chaos.standing import Difference, Standing, listed


class Roster(Standing):
    """One subscription of a presence channel."""

    counted = "presence"
    message_type = "presence"

    def __init__(self, who: str, channel: str, referee: Referee) -> None:
        super().__init__(who, channel, channel, referee)
        self._there: dict[str, Any] = {}  # state by connection
        self._parts: dict[str, Any] = {}  # of a `sync` that is not complete
        self._is_synced = False

    def _begin(self, position: str) -> None:
        super()._begin(position)
        self.since = None  # presence has no history
        self._parts, self._is_synced = {}, False

    def heard(self, message: dict[str, Any], now: float) -> None:
        entries = {entry["connection_id"]: entry["state"] for entry in message["presences"]}
        is_sync = message["event"] == "sync"
        if len(entries) < len(message["presences"]) or (is_sync and entries.keys() & self._parts.keys()):
            self._referee.violation(DUPLICATE, self.where, f"somebody is listed twice: {message}")
        if is_sync:
            self._sync(entries, message["more"])
        elif not self._is_synced:
            self._referee.violation(BROKEN, self.where, f"before a sync: {message}")
        else:
            for connection, state in entries.items():
                self._take(message["event"], connection, state)

    def _sync(self, entries: dict[str, Any], more: bool) -> None:
        self._parts |= entries
        if not more:
            self._there, self._parts, self._is_synced = self._parts, {}, True

    def _take(self, event: str, connection: str, state: Any) -> None:
        is_there = connection in self._there
        if is_there == (event == "join"):
            told = "who is there already" if is_there else "who is not there"
            self._referee.violation(DUPLICATE, self.where, f"{event} of {connection} {state}, {told}")
        if event == "leave":
            self._there.pop(connection, None)
        else:
            self._there[connection] = state

    def differences(self, truth: dict[str, Any]) -> list[Difference]:
        """Return the differences to the truth (states by connection); call it when nobody comes or goes."""
        here, there = self._there.keys(), truth.keys()
        other = {one for one in here & there if self._there[one] != truth[one]}
        return [
            *listed(GHOST, "who is long gone", here - there),
            *listed(LOSS, "who is there and was not told", there - here),
            *listed(WRONG, "whose state is another", other),
        ]

"""What `realtime dev` shows on a terminal of changes, connections and log records: a line each, and not all.

Time is an argument. `Ticker` chooses: a few lines a second, and how many more there were.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from realtime.channels import Event
from realtime.cli.columns import cut, harmless
from realtime.cli.output import paint
from realtime.dev.activity import Change, Connection, Seen

BURST = 20  # lines at once
LINES_PER_SECOND = 5.0
SUMMARY_SECONDS = 1.0  # between two lines that say how many more there were

COLOURS = {Event.INSERT: "green", Event.UPDATE: "yellow", Event.DELETE: "red"}
LEVELS = {"warning": "yellow", "error": "red", "critical": "red"}
FACTS = ("error", "reason", "exception", "part", "command")  # of a log record; the first that it has is shown

# The beginning of a record as `realtime.logs.format` writes it, as JSON and as text.
_JSON_RECORD = re.compile(rb'\{"time": "[^"]*", "level": "(?:warning|error|critical)"')
_COMPLAINT = re.compile(rb"Error: (.+)")  # with which a command ends that a person can fix
_TEXT_RECORD = re.compile(rb"\d{4}-\S+ (WARNING|ERROR|CRITICAL) +(\S+) (.*)")


class Quota:
    """Lines that may be shown now: a burst, refilled by the second; and how many were not shown."""

    def __init__(self, what: str, now: float) -> None:
        self._what = what
        self._left = float(BURST)
        self._at = now
        self._hidden = 0
        self._summed_up_at = now - SUMMARY_SECONDS

    def __repr__(self) -> str:
        return f"<Quota {self._left:.0f} {self._what}, {self._hidden} hidden>"

    def take(self, wanted: int, total: int, now: float) -> int:
        """Return how many of `wanted` lines to show; `total` is how many there were."""
        self._left = min(BURST, self._left + (now - self._at) * LINES_PER_SECOND)
        self._at = now
        shown = min(wanted, int(self._left))
        self._left -= shown
        self._hidden += total - shown
        return shown

    def summary(self, now: float) -> list[str]:
        """Return a line that says how many were hidden, at most once in SUMMARY_SECONDS."""
        if not self._hidden or now - self._summed_up_at < SUMMARY_SECONDS:
            return []
        hidden, self._hidden, self._summed_up_at = self._hidden, 0, now
        return [paint(f"         … {hidden:,} more {self._what}", dim=True)]


class Ticker:
    """Turns what was seen into lines."""

    def __init__(self, now: float) -> None:
        self._changes = Quota("changes", now)
        self._connections = Quota("connects and disconnects", now)

    def lines(self, seen: Seen, now: float, width: int | None) -> list[str]:
        """Return the lines to show now: the newest of each kind, in the order in which they happened."""
        changes = self._changes.take(len(seen.changes), seen.change_count, now)
        connections = self._connections.take(len(seen.connections), seen.connection_count, now)
        shown: list[tuple[int, str]] = [
            *((one.at_ms, change_line(one, width)) for one in _last(seen.changes, changes)),
            *((one.at_ms, connection_line(one, width)) for one in _last(seen.connections, connections)),
        ]
        shown.sort(key=lambda one: one[0])
        return [line for _, line in shown] + self._changes.summary(now) + self._connections.summary(now)


def _last(items: Sequence[Any], count: int) -> Sequence[Any]:
    return items[len(items) - count :]


def change_line(change: Change, width: int | None) -> str:
    table = change.table.name if change.table.schema == "public" else str(change.table)
    head = f"{_clock(change.at_ms)} {change.event:6} "
    rest = _cut(f"{harmless(table)} {harmless(change.row)}", width, len(head))
    event = paint(f"{change.event:6}", COLOURS[change.event], bold=True)
    return f"{paint(_clock(change.at_ms), dim=True)} {event} {rest}"


def connection_line(connection: Connection, width: int | None) -> str:
    facts = connection.facts
    user = harmless(str(facts.get("user_id") or "somebody without a user id"))
    came = facts.get("event") == "connect"
    mark, text = ("+", f"{user} connected") if came else ("-", f"{user} disconnected{_why(facts)}")
    address = f" from {harmless(str(facts.get('ip', '')))}" if came and facts.get("ip") else ""
    text = _cut(text + address, width, len("00:00:00 + "))
    return f"{paint(_clock(connection.at_ms), dim=True)} {paint(mark, 'cyan', bold=True)} {text}"


def _why(facts: dict[str, Any]) -> str:
    seconds, code, reason = (facts.get(name) for name in ("duration_seconds", "code", "reason"))
    text = f" after {seconds:.1f} s" if isinstance(seconds, int | float) else ""
    if isinstance(code, int):
        text += f": {code}" + (f" {harmless(str(reason))}" if reason else "")
    return text


def record_line(line: bytes, log: str, width: int | None) -> str | None:
    """Return a line for a warning or an error in the log, which names the log; None for other records."""
    record = _record(line)
    if record is None:
        return None
    level, text = record
    end = f"; see {log}"
    shown = _cut(harmless(text), width, len(level) + 1 + len(end))
    return f"{paint(level, LEVELS[level], bold=True)} {shown}{paint(end, dim=True)}"


def _record(line: bytes) -> tuple[str, str] | None:
    if _JSON_RECORD.match(line):
        facts = msgspec.json.decode(line, type=dict[str, Any])
        fact = next((facts[name] for name in FACTS if facts.get(name)), "")
        first = str(fact).strip().splitlines()[-1:] or [""]
        return facts["level"], f"{facts['event']}: {first[0]}" if first[0] else str(facts["event"])
    if found := _COMPLAINT.match(line):
        return "error", found[1].decode(errors="replace")
    if found := _TEXT_RECORD.match(line):
        return found[1].decode().lower(), found[3].decode(errors="replace")
    return None


def _cut(text: str, width: int | None, taken: int) -> str:
    return text if width is None else cut(text, max(0, width - taken))


def _clock(at_ms: int) -> str:
    """Return the time of day on this machine; a time that it cannot represent is left blank."""
    try:
        return datetime.fromtimestamp(at_ms / 1000).strftime("%H:%M:%S")
    except (OSError, OverflowError, ValueError):
        return "--:--:--"

"""What `realtime dev` shows on a terminal: a line for each thing that happens, and few lines of a flood."""

from __future__ import annotations

import json

import pytest

from realtime.channels import Event, Table
from realtime.cli.columns import width_of
from realtime.cli.dev_lines import (
    BURST,
    LINES_PER_SECOND,
    Ticker,
    change_line,
    connection_line,
    record_line,
)
from realtime.dev.activity import Change, Connection, Seen


def change(row: str = '{"id":1}', table: Table = Table("public", "users"), at_ms: int = 0) -> Change:  # noqa: B008
    return Change(at_ms, table, Event.INSERT, row)


def connection(**facts: object) -> Connection:
    return Connection(0, {"event": "connect", "user_id": "alice", "ip": "127.0.0.1"} | facts)


def seen(changes: int, total: int | None = None) -> Seen:
    return Seen([change(f'{{"id":{i}}}') for i in range(changes)], total or changes)


def test_a_change_is_a_line() -> None:
    assert change_line(change(), None)[8:] == ' INSERT users {"id":1}'
    assert change_line(change(table=Table("audit", "log")), None)[8:] == ' INSERT audit.log {"id":1}'


@pytest.mark.parametrize("row", ["x" * 1000, "日" * 1000, "\x1b[2J" * 50, "\u202e\n\r"])
def test_a_line_fits_the_terminal_and_does_it_no_harm(row: str) -> None:
    for line in (
        change_line(change(row, Table("public", row[:60])), 80),
        connection_line(connection(user_id=row), 80),
        connection_line(connection(event="disconnect", user_id="x", code=1006, reason=row), 80),
    ):
        assert width_of(line) <= 80
        assert line.isprintable()


def test_connections_are_told_with_how_they_ended() -> None:
    assert connection_line(connection(), None)[8:] == " + alice connected from 127.0.0.1"
    assert "somebody" in connection_line(connection(user_id=None), None)
    ended = connection(event="disconnect", code=4408, reason="heartbeat", duration_seconds=3.26)
    assert connection_line(ended, None)[8:] == " - alice disconnected after 3.3 s: 4408 heartbeat"


@pytest.mark.parametrize(
    "facts", [{}, {"event": 1, "user_id": [], "ip": {}, "code": "x", "duration_seconds": "y"}]
)
def test_an_entry_that_somebody_wrote_into_redis_is_shown_as_it_can_be(facts: dict) -> None:
    assert connection_line(Connection(2**62, facts), 80).startswith("--:--:--")


def test_a_few_changes_are_all_shown() -> None:
    ticker = Ticker(0.0)
    assert len(ticker.lines(seen(5), 0.0, 80)) == 5
    assert ticker.lines(Seen(), 0.25, 80) == []


def test_changes_and_connections_are_in_the_order_in_which_they_happened() -> None:
    happened = Seen([change(at_ms=1), change(at_ms=3)], 2, [Connection(2, connection().facts)], 1)
    marks = [line[9] for line in Ticker(0.0).lines(happened, 0.0, 80)]
    assert marks == ["I", "+", "I"]


def test_a_flood_is_a_few_lines_and_a_number() -> None:
    """A minute of 10,000 changes a second, looked at four times a second."""
    ticker, lines = Ticker(0.0), []
    for tick in range(240):
        lines += ticker.lines(seen(20, 2_500), tick / 4, 80)
    lines += ticker.lines(Seen(), 70.0, 80)
    more = [int(line.split()[1].replace(",", "")) for line in lines if "more changes" in line]
    shown = len(lines) - len(more)
    assert shown <= BURST + 60 * LINES_PER_SECOND
    assert len(more) <= 62
    assert shown + sum(more) == 240 * 2_500


def test_the_newest_of_a_flood_are_shown() -> None:
    ticker = Ticker(0.0)
    ticker.lines(seen(18), 0.0, 80)
    shown = ticker.lines(seen(20, 100), 0.0, 80)
    assert [line.partition(" users ")[2] for line in shown[:2]] == ['{"id":18}', '{"id":19}']
    assert shown[2].strip() == "… 98 more changes"


def record(level: str, **facts: object) -> bytes:
    head = {"time": "2026-01-31T12:00:00.000Z", "level": level, "logger": "x", "event": "feed_failed"}
    return json.dumps(head | facts).encode()


def test_a_warning_is_a_short_line_that_names_the_log() -> None:
    assert record_line(record("warning", error="db:5432: refused"), "a.log", None) == (
        "warning feed_failed: db:5432: refused; see a.log"
    )
    assert record_line(
        record("error", exception="Traceback …\n  File x\nValueError: bad"), "a.log", None
    ) == ("error feed_failed: ValueError: bad; see a.log")
    assert record_line(record("critical"), "a.log", None) == "critical feed_failed; see a.log"
    assert record_line(b"Error: port 8000 is taken", "a.log", None) == ("error port 8000 is taken; see a.log")
    text = b"2026-01-31T12:00:00.000Z WARNING  notifier.feed feed_failed error=x"
    assert record_line(text, "a.log", None) == "warning feed_failed error=x; see a.log"


@pytest.mark.parametrize(
    "line", [record("info"), record("debug"), b"", b"warning", b"\xff\xfe", b'{"level": "warning"}']
)
def test_other_lines_of_the_log_are_not_shown(line: bytes) -> None:
    assert record_line(line, "a.log", None) is None


def test_a_record_does_the_terminal_no_harm() -> None:
    line = record_line(record("warning", error="\x1b[2J" + "x" * 1000), "a.log", 80)
    assert line is not None
    assert line.isprintable()
    assert width_of(line) <= 80

"""What stands in a log, as tests look at it; and what may not, whatever clients did.

That is an error that nobody foresaw, or a token: before the net of `realtime.logs.format` cuts it out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from realtime.waiting.survival import forget_faults

# asyncpg drops a future when a connect is cancelled between two steps of the loop, or its request to cancel a
# query (asyncpg issue 1310 and pull request 1312); the loop tells of it later, and nothing is lost.
DRIVER_NOISE = "unexpected connection_lost() call"


def logged(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    """The facts of every such event, in their order."""
    events = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [
        {name: fact for name, fact in facts.items() if name != "event"}
        for facts in events
        if facts["event"] == event
    ]


class LogLines(logging.Handler):
    """Keeps what was logged, as text, with everything that it says."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[tuple[int, str]] = []  # level and text

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelno, self.format(record)))


@contextmanager
def clean_log(expected_errors: int = 0) -> Iterator[None]:
    """Fail at the end if a token was logged, or more errors than a test brings about."""
    forget_faults()  # of tests before: what was logged once is logged again
    log, root = LogLines(), logging.getLogger()
    level = root.level
    root.addHandler(log)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(log)
        root.setLevel(level)
    errors = [text for number, text in log.lines if number >= logging.ERROR]
    assert len(errors) == expected_errors, errors
    assert [text for _, text in log.lines if "eyJ" in text] == []

"""What may not stand in a log, whatever clients did: an error that nobody foresaw, or a token."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class LogLines(logging.Handler):
    """Keeps what was logged, as it would have been written."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[tuple[int, str]] = []  # level and text

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelno, self.format(record)))


@contextmanager
def clean_log(expected_errors: int = 0) -> Iterator[None]:
    """Fail at the end if a token was logged, or more errors than a test brings about."""
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

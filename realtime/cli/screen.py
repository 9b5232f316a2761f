"""The terminal of `realtime dev`: lines that are printed by a thread of its own, and never waited for.

A terminal may stop for any time, by Ctrl-S or a slow connection. Then lines are dropped and counted, and all
other work goes on.
"""

from __future__ import annotations

import os
import queue
import select
import threading

from realtime.cli.output import paint

MOST_LINES = 500  # that wait for the terminal
END_SECONDS = 1.0  # for the lines that wait when the program ends


class Screen:
    """Prints lines to a file descriptor. A context manager, which starts and ends the thread."""

    def __init__(self, descriptor: int, encoding: str = "utf-8", most_lines: int = MOST_LINES) -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        self._waiting: queue.Queue[str | None] = queue.Queue(most_lines)
        self._lock = threading.Lock()  # of `_dropped`
        self._dropped = 0  # lines since the last one that was printed
        self._thread = threading.Thread(target=self._run, name="screen", daemon=True)

    def __repr__(self) -> str:
        return f"<Screen {self._waiting.qsize()} lines wait, {self._dropped} dropped>"

    def __enter__(self) -> Screen:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._waiting.put(None, timeout=END_SECONDS)
        except queue.Full:
            return
        self._thread.join(END_SECONDS)

    def show(self, *lines: str) -> None:
        """Print lines soon; from any thread, without waiting."""
        for line in lines:
            try:
                self._waiting.put_nowait(line)
            except queue.Full:
                with self._lock:
                    self._dropped += 1

    def _run(self) -> None:
        while (line := self._waiting.get()) is not None:
            with self._lock:
                dropped, self._dropped = self._dropped, 0
            try:
                self._write(line)
                if dropped:
                    self._write(
                        paint(f"{dropped} lines are missing here: the terminal was too slow", dim=True)
                    )
            except OSError:
                return  # the terminal is gone

    def _write(self, line: str) -> None:
        left = f"{line}\n".encode(self._encoding, "backslashreplace")
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # another program has set the terminal so
                select.select((), (self._descriptor,), ())

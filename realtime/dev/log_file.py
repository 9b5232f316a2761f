"""The log of all processes of `realtime dev`, in a file of bounded size instead of on the terminal.

Standard error of this process, which its children inherit, becomes a pipe, and a thread of its own writes
what comes out of it to the file: no process waits for its log while a terminal or an event loop is slow.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAME = "dev.log"
MAX_BYTES = 16 * 1024 * 1024  # of the file; the one before it is kept as `dev.log.1`
LONGEST_LINE = 65_536  # that is passed on; the file has all of it
READ_BYTES = 65_536
END_SECONDS = 2.0  # for the last lines; a process that was left behind may hold the pipe open

STANDARD_ERROR = 2


class LogFile:
    """A log file that only its owner may read, and that starts again when it is full.

    Nothing is touched before the first line: the file may be that of a process that has the directory.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._size = 0
        self._file: int | None = None

    def __repr__(self) -> str:
        return f"<LogFile {self._path}, {self._size} bytes>"

    def _open(self) -> int:
        """Keep the former file beside a new one; nothing that has the name of the file is followed."""
        with suppress(FileNotFoundError):
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        return os.open(self._path, flags, 0o600)

    def write(self, piece: bytes) -> None:
        """Append; what a full disk does not take is lost, since no process may wait for its log."""
        with suppress(OSError):
            if self._file is None or (self._size and self._size + len(piece) > self._max_bytes):
                file = self._open()
                self.close()
                self._file, self._size = file, 0
            self._size += os.write(self._file, piece)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


@contextmanager
def log_to_file(data_dir: Path, on_line: Callable[[bytes], None]) -> Iterator[Path]:
    """Send standard error to the log file while the block runs; `on_line` gets each line, in a thread."""
    path = data_dir.absolute() / NAME
    file = LogFile(path)
    reading, writing = os.pipe()
    before = os.dup(STANDARD_ERROR)
    pump = threading.Thread(target=_pump, args=(reading, file, on_line), name="log", daemon=True)
    pump.start()
    os.dup2(writing, STANDARD_ERROR)
    os.close(writing)
    try:
        yield path
    finally:
        os.dup2(before, STANDARD_ERROR)
        os.close(before)
        pump.join(END_SECONDS)


def _pump(reading: int, file: LogFile, on_line: Callable[[bytes], None]) -> None:
    rest = b""
    while piece := os.read(reading, READ_BYTES):
        file.write(piece)
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            with suppress(Exception):  # a line that cannot be shown must not stop the log
                on_line(line)
        rest = rest[-LONGEST_LINE:]
    os.close(reading)
    file.close()

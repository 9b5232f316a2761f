"""Survive unforeseen faults: a fault ends one item only, such as a socket, a topic or a project.

Every task that many items share is a `Part`. It catches what one item or one round raises, counts it, logs
it, and continues. A fault that repeats is counted each time, but logged with its traceback only rarely.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter

from realtime.errors import ClientError, Code
from realtime.logs.setup import get_logger
from realtime.waiting.backoff import Backoff

log = get_logger(__name__)

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 5.0
LOG_AGAIN_SECONDS = 600.0  # after which a fault that repeats is logged again
DEEPEST_CAUSE = 20  # groups and translations of one fault that are looked through
MOST_KINDS = 100  # of faults that a part distinguishes; beyond them the oldest kind is forgotten

unforeseen_faults = Counter(
    "realtime_unforeseen_faults",
    "Unforeseen faults that ended one item and nothing else; should stay 0",
    ["part"],
)

_parts: list[Part] = []  # all parts of this process, as metrics are global too

Kind = tuple[str, ...]  # the type of a fault, and the line of code that raised it


@dataclass(slots=True)
class _Logged:
    """When a kind of fault was last logged."""

    at: float  # monotonic, when the fault was last logged
    unlogged: int = 0  # how often the fault happened since then


class Part:
    """A part of this process that survives the faults of its single items; a constant of its module."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._clock = clock
        self._count = unforeseen_faults.labels(name)
        self._logged: dict[Kind, _Logged] = {}  # the oldest first
        _parts.append(self)

    def __repr__(self) -> str:
        return f"<Part {self.name}, {len(self._logged)} kinds of faults>"

    def count(self, error: BaseException) -> int:
        """Count a fault; return how often it happened since its last log line, or 0 not to log it now."""
        self._count.inc()
        now, kind = self._clock(), _kind(error)
        logged = self._logged.get(kind)
        if logged is not None and now - logged.at < LOG_AGAIN_SECONDS:
            logged.unlogged += 1
            return 0
        self._logged.pop(kind, None)
        self._logged[kind] = _Logged(now)
        if len(self._logged) > MOST_KINDS:
            del self._logged[next(iter(self._logged))]
        return 1 if logged is None else logged.unlogged + 1

    def note(self, error: BaseException, item: str | None = None) -> None:
        """Count a fault that was survived, and log it with its traceback unless that was done recently."""
        if times := self.count(error):
            log.error("part_failed", part=self.name, item=item, times=times, exc_info=error)

    @contextmanager
    def survives(self, item: str | None = None) -> Iterator[None]:
        """Catch and note what the block raises, except cancellation and the end of the process."""
        try:
            yield
        except Exception as error:
            self.note(error, item)

    @contextmanager
    def raises_internal(self, item: str | None = None) -> Iterator[None]:
        """Raise `internal` in place of an unforeseen fault, in a block that serves a client's request."""
        try:
            yield
        except ClientError:
            raise
        except Exception as error:
            self.note(error, item)
            raise internal() from error

    async def run(self, work: Coroutine[Any, Any, object], item: str | None = None) -> None:
        """Await the work once, and survive its fault."""
        with self.survives(item):
            await work

    async def keep_running(
        self, work: Callable[[], Awaitable[None]], first_retry_seconds: float = FIRST_RETRY_SECONDS
    ) -> None:
        """Run work that should not end, and restart it with backoff when it fails. Return when it returns."""
        backoff = Backoff(first_retry_seconds, LAST_RETRY_SECONDS)
        while True:
            began_at = self._clock()
            try:
                return await work()
            except Exception as error:
                self.note(error)
            if self._clock() - began_at > LAST_RETRY_SECONDS:
                backoff.reset()
            await asyncio.sleep(backoff.next())


def internal() -> ClientError:
    """Return the error that a client receives for an unforeseen fault."""
    return ClientError(Code.INTERNAL, "something went wrong on this node; it is logged")


def forget_faults() -> None:
    """Let every part log again the faults that it logged before."""
    for part in _parts:
        part._logged.clear()


def _kind(error: BaseException) -> Kind:
    """Return the type of a fault and the line that raised it.

    A group counts as its first exception, and an error that translates another error counts as the other one:
    so the causes behind one translation are different kinds.
    """
    for _ in range(DEEPEST_CAUSE):
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif error.__cause__ is not None:
            error = error.__cause__
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = () if trace is None else (trace.tb_frame.f_code.co_filename, str(trace.tb_lineno))
    return (type(error).__qualname__, *where)

"""Runs the work of a process until it is done, or until SIGINT or SIGTERM ends it cleanly.

The command line calls `live` once per process. On SIGHUP a function of the work is called, if there is one.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from realtime.waiting.survival import Part

_part = Part("callbacks")


def hold_hangups() -> None:
    """Block SIGHUP until `live` handles it, so that none is lost while the settings are read."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))


def live(work: Coroutine[Any, Any, None], on_hangup: Callable[[], object] | None = None) -> None:
    """Run the work until it is done, or until SIGINT or SIGTERM ends it; a second one ends it at once.

    A SIGHUP calls `on_hangup`; without that function it ends the process, as the end of a terminal does. The
    limit of open files is raised as far as the system allows.
    """
    _allow_many_files()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_until_signalled(work, on_hangup))


def _allow_many_files() -> None:
    """Raise the limit of open files: each client takes one, and nearly all systems start with 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS allows fewer than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # no wheel for this platform
        return None
    return uvloop.new_event_loop


def _note(loop: asyncio.AbstractEventLoop, facts: dict[str, Any]) -> None:
    """Count an exception of a callback, or of a task that nobody awaits; all other work continues."""
    error = facts.get("exception")
    if isinstance(error, Exception):
        _part.note(error, str(facts.get("message")))
    else:
        loop.default_exception_handler(facts)


async def apart(work: Coroutine[Any, Any, None], name: str) -> None:
    """Run the work in a task of its own, and raise what it raises; a cancellation cancels it and is raised.

    For loops that survive failures: work that fails while it is cancelled may raise only its failure, as does
    a transaction whose session is lost, and a task group before Python 3.13.
    """
    task = asyncio.create_task(work, name=name)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    task.result()


async def _until_signalled(work: Coroutine[Any, Any, None], on_hangup: Callable[[], object] | None) -> None:
    task = asyncio.ensure_future(work)
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if stopped:
            os._exit(1)
        stopped = True
        task.cancel()

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_note)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    if on_hangup is not None:
        loop.add_signal_handler(signal.SIGHUP, on_hangup)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))
    try:
        await task
    except asyncio.CancelledError:
        if not stopped:
            raise

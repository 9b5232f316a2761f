"""Signals of a process that is starting: none that asks for a reload is lost, or ends it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from realtime.lifetime import hold_hangups, live


@pytest.fixture(autouse=True)
def hangups() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))


@pytest.mark.parametrize("inherited", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_hangup_before_the_work_begins_is_heard_then(inherited: Any) -> None:
    """As a person starts it, and as `--workers` does."""
    signal.signal(signal.SIGHUP, inherited)
    heard: list[str] = []

    async def work() -> None:
        async with asyncio.timeout(15):
            while not heard:
                await asyncio.sleep(0.01)

    hold_hangups()
    os.kill(os.getpid(), signal.SIGHUP)
    live(work(), on_hangup=lambda: heard.append("hangup"))
    assert heard == ["hangup"]

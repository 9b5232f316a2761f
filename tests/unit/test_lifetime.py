"""Signals of a process that is starting: none that asks for a reload is lost, or ends it.

In a process of its own: a signal goes to whichever thread lets it in, and that of many tests has threads.
"""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

STARTING = """
import asyncio, os, signal, sys
from realtime.lifetime import hold_hangups, live

async def work():
    async with asyncio.timeout(15):
        while not heard:
            await asyncio.sleep(0.01)

signal.signal(signal.SIGHUP, signal.Handlers(int(sys.argv[1])))
heard = []
hold_hangups()
os.kill(os.getpid(), signal.SIGHUP)
live(work(), on_hangup=lambda: heard.append("hangup"))
print(heard)
"""


@pytest.mark.parametrize("inherited", ["SIG_DFL", "SIG_IGN"])
def test_a_hangup_before_the_work_begins_is_heard_then(inherited: str) -> None:
    """As a person starts it, and as `--workers` does."""
    words = [sys.executable, "-c", STARTING, str(int(signal.Handlers[inherited]))]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (0, "['hangup']\n"), ended.stderr

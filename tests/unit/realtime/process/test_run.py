"""How the work of a process is asked for something, and ended: no signal and no cancellation is lost.

Signals in a process of its own: one goes to whichever thread lets it in, and that of many tests has threads.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from realtime.process.run import apart

STARTING = """
import asyncio, os, signal, sys
from realtime.process.run import hold_hangups, live

async def work():
    async with asyncio.timeout(45):
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
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, "['hangup']\n"), ended.stderr


FILES = """
import resource
from realtime.process.run import live

async def work():
    print(*resource.getrlimit(resource.RLIMIT_NOFILE))

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 500))
live(work())
"""


def test_it_may_open_as_many_files_as_it_is_allowed_to_ask_for() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FILES], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "500 500\n"), ended.stderr


@pytest.mark.parametrize("turns", range(12))
async def test_who_waits_failures_out_hears_a_cancellation_in_any_turn(turns: int) -> None:
    """Also in the one in which the work fails."""

    async def fail() -> None:
        for _ in range(4):
            await asyncio.sleep(0)
        raise OSError

    async def work() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail())
            tasks.create_task(asyncio.Event().wait())

    async def go_on() -> None:
        while True:
            try:
                await apart(work(), "work")
            except* OSError:
                await asyncio.sleep(0)

    task = asyncio.create_task(go_on())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=10)
    assert task.cancelled()


async def test_work_that_fails_because_it_is_cancelled_does_not_swallow_it() -> None:
    """As a transaction does that cannot be rolled back."""

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            raise OSError from error

    async def go_on() -> None:
        while True:
            with suppress(OSError):
                await apart(work(), "work")

    task = asyncio.create_task(go_on())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=10)
    assert task.cancelled()


FAILING = """
import asyncio
from realtime.process.run import live
from realtime.logs.setup import LogFormat, configure_logging
from realtime.waiting.survival import unforeseen_faults

def fail():
    raise KeyError("nobody thought of it")

async def fails():
    fail()

async def work():
    loop = asyncio.get_running_loop()
    for _ in range(3):
        loop.call_soon(fail)
        loop.call_later(0, fail)
    task = asyncio.create_task(fails())
    await asyncio.wait([task])
    del task
    async with asyncio.timeout(45):
        while unforeseen_faults.labels("callbacks")._value.get() < 7:
            await asyncio.sleep(0.01)
    print("went on")

configure_logging("INFO", LogFormat.JSON)
live(work())
"""


def test_what_a_callback_or_a_task_raises_is_logged_once_and_ends_nothing() -> None:
    words = [sys.executable, "-c", FAILING]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, "went on\n"), ended.stderr
    (told,) = [json.loads(line) for line in ended.stderr.splitlines()]
    assert (told["event"], told["part"]) == ("part_failed", "callbacks")
    assert "nobody thought of it" in told["exception"]

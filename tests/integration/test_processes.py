"""Children of a supervisor: which of them are started again, and when all are ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from realtime.process.supervisor import MOST_YOUNG_ENDS, ChildEnded, ChildTimings, processes
from tests.gateway_fixture import eventually

AGAIN = "child_restarted"


async def last_child(command: Sequence[str], timings: ChildTimings) -> ChildEnded:
    """Wait until the child has ended all, and return what was said of it."""
    with pytest.RaisesGroup(ChildEnded) as raised:
        async with asyncio.timeout(60), processes([command], timings):
            await asyncio.Event().wait()
    (ended,) = raised.value.exceptions
    assert isinstance(ended, ChildEnded)
    return ended


async def test_a_wrong_setting_ends_all_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    command = ["notifier", "--config", str(tmp_path / "nowhere.toml")]
    ended = await last_child(command, ChildTimings(young_seconds=60))  # a busy machine starts it slowly
    assert (ended.name, ended.status) == ("notifier", 1)
    assert AGAIN not in caplog.text


async def test_a_child_that_ends_soon_every_time_ends_all(caplog: pytest.LogCaptureFixture) -> None:
    ended = await last_child(["--version"], ChildTimings(restart_seconds=0))
    assert (ended.name, ended.status) == ("--version", 0)
    assert caplog.text.count(AGAIN) == MOST_YOUNG_ENDS - 1


async def test_a_child_that_lived_for_long_enough_is_started_again_and_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Wait until it was started more often than one that ends soon."""
    async with processes([["--version"]], ChildTimings(restart_seconds=0, young_seconds=0)):
        await eventually(lambda: caplog.text.count(AGAIN) > 2 * MOST_YOUNG_ENDS, 60)


async def test_a_child_that_was_hung_up_on_before_it_had_an_ear_is_started_again_and_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Wait until it was started more often than one that ends soon."""
    hung_up_on = tmp_path / "hung_up_on.py"
    # Whoever runs the tests may ignore it, as under nohup, and what a process ignores its children do, too.
    default = "signal.signal(signal.SIGHUP, signal.SIG_DFL)"
    hung_up_on.write_text(f"import os, signal\n{default}\nos.kill(os.getpid(), signal.SIGHUP)\n")
    monkeypatch.setattr("realtime.process.child.__file__", str(hung_up_on))
    async with processes([["notifier"]], ChildTimings(restart_seconds=0)):
        await eventually(lambda: caplog.text.count(AGAIN) > 2 * MOST_YOUNG_ENDS, 60)

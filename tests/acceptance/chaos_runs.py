"""Runs of the chaos suite, as tests start them, and what they said."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.acceptance.programs import clean_environment

TREE = Path(__file__).parents[2]
SECONDS = 400.0  # for one run, on a busy machine


async def chaos(*words: object) -> tuple[int, str]:
    """Run the suite; return its status and what it said."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.chaos", *map(str, words)),
        cwd=TREE,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(SECONDS):
            said, _ = await running.communicate()
    finally:
        if running.returncode is None:
            running.send_signal(signal.SIGINT)
            await running.wait()
    return running.returncode or 0, said.decode()


async def broken(*words: object) -> tuple[int, str]:
    """Run it on a service that is broken on purpose: the logs are of no use to anybody."""
    status, said = await chaos(*words)
    if (kept := re.search(r"^logs are kept in (\S+)$", said, re.MULTILINE)) is not None:
        shutil.rmtree(kept[1])
    return status, said


def figure(name: str, said: str) -> int:
    """The number that the report begins a line with."""
    found = re.search(rf"^{name}: +(\d+)", said, re.MULTILINE)
    assert found, said
    return int(found[1])

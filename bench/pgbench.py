"""One run of pgbench with a script of our own; it ends with who waits for it."""

from __future__ import annotations

import asyncio
import re
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from pathlib import Path

from realtime.dev.postgres import postgres_program

SPARE_SECONDS = 20  # for pgbench to start and to end


@dataclass(frozen=True, slots=True)
class Run:
    rate: float  # transactions a second
    pid: int  # which names its log files


async def run(url: str, script: Path, clients: int, seconds: int, *options: str) -> Run:
    """Run the script by so many clients for so long; raises SystemExit with what pgbench says if it fails."""
    pgbench = await asyncio.create_subprocess_exec(
        postgres_program("pgbench"),
        *("--no-vacuum", f"--client={clients}", f"--time={seconds}", *options, f"--file={script}", url),
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,  # Ctrl-C is for us alone: we end it
    )
    try:
        async with asyncio.timeout(seconds + SPARE_SECONDS):
            output, errors = await pgbench.communicate()
    finally:
        if pgbench.returncode is None:
            pgbench.kill()
            await pgbench.wait()
    found = re.search(r"tps = ([0-9.]+)", output.decode())
    if found is None or pgbench.returncode != 0:
        raise SystemExit(errors.decode())
    return Run(float(found[1]), pgbench.pid)

"""What a run of the measurements was made with: version, date, machine, and the programs that took part."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import psutil

from realtime import __version__
from realtime.dev.postgres import postgres_program
from realtime.dev.valkey import valkey_program

ROOT = Path(__file__).resolve().parent.parent


async def about() -> dict[str, object]:
    """Return what stands on top of the figures; what cannot be found out is an empty text."""
    return {
        "version": __version__,
        "commit": await _first_line("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count(),
            "processor": _processor(),
            "memory_bytes": psutil.virtual_memory().total,
            "kernel": platform.platform(terse=False),
            "python": platform.python_version(),
            "postgres": await _first_line(str(postgres_program("postgres")), "--version"),
            "valkey": await _first_line(str(valkey_program()), "--version"),
            "node": await _first_line("node", "--version"),
        },
    }


async def _first_line(*command: str) -> str:
    try:
        found = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.partition("\n")[0].strip() if found.returncode == 0 else ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")

"""The packages of npm that this measurement alone needs, in this directory, as the lock file has them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCK = HERE / "package-lock.json"
INSTALLED = HERE / "node_modules" / ".package-lock.json"  # npm writes it last
DEADLINE_SECONDS = 120
COMMAND = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(HERE))


def install() -> str | None:
    """Install what is not there yet; return why Socket.IO cannot run, or None."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "Node and npm are needed, and are not there"
    if INSTALLED.exists() and INSTALLED.stat().st_mtime >= LOCK.stat().st_mtime:
        return None
    try:
        npm = subprocess.run(COMMAND, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"npm was not done after {DEADLINE_SECONDS} s"
    if npm.returncode != 0:
        return f"npm failed: {' '.join(npm.stderr.split())[:300]}"
    INSTALLED.touch()
    return None

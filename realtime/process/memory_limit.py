"""How much memory this process may take, and how much of it may wait for clients.

Asked by the command line and by gateways when they start. Reads files of Linux; elsewhere there are none, and
a default takes their place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from realtime.settings.config import ENVIRONMENT_PREFIX, MIN_QUEUE_BUDGET_BYTES, Settings

SHARE = 4  # a quarter is for what waits; the rest for clients that are there, and for what works for them
LEAST_BYTES = MIN_QUEUE_BUDGET_BYTES
MOST_BYTES = 1024 * 1024 * 1024  # unless the settings ask for more
UNKNOWN_BYTES = 1024 * 1024 * 1024  # of a machine that does not tell

# Where the system has a process's own limits, and those of what it is part of.
ROOT = Path("/")
V1_FILES, V2_FILES = ("memory.limit_in_bytes",), ("memory.max", "memory.high")


def default_budget(processes: int = 1, root: Path = ROOT) -> int:
    """Return how many bytes may wait for the clients of one of so many processes that share the memory."""
    return min(MOST_BYTES, max(LEAST_BYTES, memory_limit(root) // SHARE // processes))


def share_budget(settings: Settings, processes: int) -> None:
    """Let children that share the memory have a share of the budget: none of them knows of the others."""
    if not settings.queue_budget_bytes:
        os.environ[f"{ENVIRONMENT_PREFIX}QUEUE_BUDGET_BYTES"] = str(default_budget(processes))


def memory_limit(root: Path = ROOT) -> int:
    """Return the bytes that the process may take: what its control groups and the machine let it have."""
    return min([*_of_control_groups(root), *_of_machine(root)], default=UNKNOWN_BYTES)


def _of_control_groups(root: Path) -> Iterator[int]:
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            for mount in ("sys/fs/cgroup", "sys/fs/cgroup/unified"):
                yield from _up_from(root / mount, path, V2_FILES)
        elif "memory" in controllers.split(","):
            yield from _up_from(root / "sys/fs/cgroup/memory", path, V1_FILES)


def _up_from(mount: Path, path: str, names: tuple[str, ...]) -> Iterator[int]:
    """Yield the limits of a group and of all above it.

    In a container the path may be the host's, of which nothing is there: then the mount is its own.
    """
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for length in range(len(parts), -1, -1):
        for name in names:
            text = _text(mount.joinpath(*parts[:length], name)).strip()
            if text.isdigit():  # v2 says `max` for no limit, v1 more than any machine has
                yield int(text)


def _of_machine(root: Path) -> Iterator[int]:
    if found := re.search(r"^MemTotal: *(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE):
        yield int(found[1]) * 1024


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, ValueError):
        return ""

"""How much memory this process may use, and how much of it may hold messages that wait for clients.

The command line and gateways ask at their start. The limits come from files of Linux; other systems have no
such files, and get a default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from realtime.settings.config import ENVIRONMENT_PREFIX, MIN_QUEUE_BUDGET_BYTES, Settings

SHARE = 4  # a quarter is for messages that wait; the rest for connections, and for the work itself
LEAST_BYTES = MIN_QUEUE_BUDGET_BYTES
MOST_BYTES = 1024 * 1024 * 1024  # unless the settings ask for more
UNKNOWN_BYTES = 1024 * 1024 * 1024  # assumed if the machine does not report its memory

# Where the system has the limits of a process and of its control groups.
ROOT = Path("/")
V1_FILES, V2_FILES = ("memory.limit_in_bytes",), ("memory.max", "memory.high")


def default_budget(processes: int = 1, root: Path = ROOT) -> int:
    """Return how many bytes may wait for clients, for each of `processes` that share the memory."""
    return min(MOST_BYTES, max(LEAST_BYTES, memory_limit(root) // SHARE // processes))


def share_budget(settings: Settings, processes: int) -> None:
    """Give each child an equal share of the budget: children share the memory and do not know each other."""
    if not settings.queue_budget_bytes:
        os.environ[f"{ENVIRONMENT_PREFIX}QUEUE_BUDGET_BYTES"] = str(default_budget(processes))


def memory_limit(root: Path = ROOT) -> int:
    """Return the bytes that the process may use: the least limit of its control groups and the machine."""
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
    """Yield the limits of a control group and of all groups above it.

    In a container the path may be the host's, and not exist: then the mount itself is the container's group.
    """
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for length in range(len(parts), -1, -1):
        for name in names:
            text = _text(mount.joinpath(*parts[:length], name)).strip()
            if text.isdigit():  # for no limit, v2 says `max`, and v1 a number above any memory
                yield int(text)


def _of_machine(root: Path) -> Iterator[int]:
    if found := re.search(r"^MemTotal: *(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE):
        yield int(found[1]) * 1024


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, ValueError):
        return ""

"""Break the service on purpose, to show that the referee finds the defect.

One named edit is made in a copy of the packages; the text of the edit must occur exactly once. Processes then
run from the copy. The source tree is never changed.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import realtime

PACKAGES = ("realtime", "gateway", "notifier")


@dataclass(frozen=True)
class Edit:
    """A text in a file, which must occur once, and its replacement."""

    file: str
    text: str
    instead: str


EDITS = {
    # Changes of a batch that is published again count as new.
    "batch-check": Edit("realtime/redis/lua/changes_v2.lua", "skip = skip + 1", "skip = 0"),
    # After a lost connection or a gap, a node continues at the present position of Redis.
    "gap-reading": Edit(
        "gateway/delivery/catching_up.py",
        "is_lost = one.is_broken or not await self._read_pages(one, position, mine)",
        "is_lost = False; one.topic.ordered = position",
    ),
    # In a cluster: a channel that its server has unsubscribed, since its slot moved, is not subscribed again.
    "thrown-off": Edit(
        "gateway/delivery/redis_subscription.py",
        "self.subscribe(channel)  # the answer names the server that has it",
        "pass",
    ),
}


def sabotaged(name: str, directory: Path) -> Path:
    """Return a tree below the directory from which the broken service runs."""
    tree = directory / "sabotaged"
    for package in PACKAGES:
        source = Path(realtime.__file__).parents[1] / package
        shutil.copytree(source, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    edit = EDITS[name]
    file = tree / edit.file
    text = file.read_text()
    found = text.count(edit.text)
    if found != 1:
        raise ValueError(f"sabotage {name}: its text stands {found} times in {edit.file}")
    file.write_text(text.replace(edit.text, edit.instead))
    return tree

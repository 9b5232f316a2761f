"""How a running process takes newer settings, or keeps the settings that it has.

On SIGHUP the settings are read again, compared, and passed to the composition root as a whole, or refused
as a whole. Settings of projects can change; all others need a restart. This module applies no setting itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from realtime.errors import SettingError
from realtime.logs.setup import get_logger
from realtime.settings.config import Settings
from realtime.waiting.survival import Part

log = get_logger(__name__)

# Loading merges the common limits into each project's own, so a change of them changes projects.
RELOADABLE = ("limits", "projects")

_part = Part("reload")


@dataclass(frozen=True, slots=True)
class Changes:
    """The ids of added, removed and changed projects, in alphabetical order."""

    added: list[str]
    removed: list[str]
    changed: list[str]


def compare(older: Settings, newer: Settings) -> Changes:
    """Compare the projects of two settings; raises SettingError if another setting needs a restart."""
    for name in Settings.__struct_fields__:
        if name not in RELOADABLE and getattr(older, name) != getattr(newer, name):
            raise SettingError(name, "needs a restart to change")
    before, after = older.projects, newer.projects
    return Changes(
        added=sorted(after.keys() - before.keys()),
        removed=sorted(before.keys() - after.keys()),
        changed=sorted(one for one in before.keys() & after.keys() if before[one] != after[one]),
    )


Take = Callable[[Settings, Changes], Awaitable[None]]


class Reloads:
    """Runs the reloads of a process, one after the other; requests during a reload lead to one more."""

    def __init__(self, read: Callable[[], Settings]) -> None:
        self._read = read
        self._asked = asyncio.Event()  # set if a reload was requested since the last read

    def ask(self) -> None:
        """Request a reload, which starts soon."""
        self._asked.set()

    async def follow(self, settings: Settings, take: Take) -> None:
        """On each request, read newer settings and pass them and their changes to `take`, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            with _part.survives():
                settings = await self._renew(settings, take)

    async def _renew(self, settings: Settings, take: Take) -> Settings:
        """Read and apply newer settings; return the settings that are in force afterwards."""
        try:
            # Read in a thread: many projects take long to read, and the event loop serves clients meanwhile.
            newer = await asyncio.to_thread(self._read)
            changes = compare(settings, newer)
        except SettingError as error:
            log.warning("settings_refused", setting=error.setting, reason=error.reason)
            return settings
        with _part.survives():  # newer settings are in force even if one project fails to take them
            await take(newer, changes)
        log.info("settings_reloaded", added=changes.added, removed=changes.removed, changed=changes.changed)
        return newer

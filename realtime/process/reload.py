"""How a running process comes to newer settings, or stays with those that it has.

SIGHUP asks; the settings are read again, compared, and handed to the composition root as a whole, or refused
as a whole. What belongs to projects can change; what a process was built around needs a restart. Applies
nothing itself.
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

# The common limits are part of each project's own by the time that settings are loaded.
RELOADABLE = ("limits", "projects")

_part = Part("reload")


@dataclass(frozen=True, slots=True)
class Changes:
    """Project ids by what becomes of them, in alphabetical order."""

    added: list[str]
    removed: list[str]
    changed: list[str]


def compare(older: Settings, newer: Settings) -> Changes:
    """Tell what becomes of each project; raises SettingError for what needs a restart."""
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
    """The reloads of a process, one after the other; many that are asked for meanwhile are one."""

    def __init__(self, read: Callable[[], Settings]) -> None:
        self._read = read
        self._asked = asyncio.Event()  # since the settings were last read

    def ask(self) -> None:
        """Let the settings be read again, soon."""
        self._asked.set()

    async def follow(self, settings: Settings, take: Take) -> None:
        """Hand newer settings to `take`, and what they change, whenever it is asked for, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            with _part.survives():
                settings = await self._renew(settings, take)

    async def _renew(self, settings: Settings, take: Take) -> Settings:
        """Return the settings that are in force afterwards."""
        try:
            # In a thread: many projects take long to read, and clients are served meanwhile.
            newer = await asyncio.to_thread(self._read)
            changes = compare(settings, newer)
        except SettingError as error:
            log.warning("settings_refused", setting=error.setting, reason=error.reason)
            return settings
        with _part.survives():  # what was taken of them, before one project failed, is in force
            await take(newer, changes)
        log.info("settings_reloaded", added=changes.added, removed=changes.removed, changed=changes.changed)
        return newer

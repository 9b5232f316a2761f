"""Settings that change while a gateway or notifier of a test runs by them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from prometheus_client import generate_latest

from realtime.errors import SettingError
from realtime.process.reload import Reloads
from realtime.settings.config import Project, Settings
from tests.clean_log import logged
from tests.gateway_fixture import eventually


def series_of(part: str, project_id: str) -> list[str]:
    """What `gateway` or `notifier` tells of a project; of the other part, tests before may have left some."""
    lines = generate_latest().decode().splitlines()
    return [line for line in lines if line.startswith(f"realtime_{part}") and f'"{project_id}"' in line]


class Live:
    """What stands in the file; `reloads` is for the part that is to follow it."""

    def __init__(self, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO")
        self.settings = settings
        self.reloads = Reloads(self._read)
        self._caplog = caplog
        self._error: SettingError | None = None

    def _read(self) -> Settings:
        if self._error is not None:
            raise self._error
        return self.settings

    def _outcomes(self, event: str) -> list[dict[str, Any]]:
        return logged(self._caplog, event)

    def become_before(self, **projects: Project) -> None:
        """Put in these projects before anybody reads the file."""
        self.settings = msgspec.structs.replace(self.settings, projects=self.settings.projects | projects)

    async def become(self, **projects: Project | None) -> dict[str, Any]:
        """Put in these projects, take out those that are None, and wait until that is in force."""
        merged = self.settings.projects | projects
        kept = {name: project for name, project in merged.items() if project is not None}
        self.settings = msgspec.structs.replace(self.settings, projects=kept)
        return await self._reload("settings_reloaded")

    async def change(self, project_id: str, **changed: Any) -> dict[str, Any]:
        return await self.become(
            **{project_id: msgspec.structs.replace(self.settings.projects[project_id], **changed)}
        )

    async def be_refused(self, error: SettingError | None = None, **top: Any) -> dict[str, Any]:
        """Fail to be read, or ask for what needs a restart; nothing of it stays."""
        before, self._error = self.settings, error
        self.settings = msgspec.structs.replace(before, projects={}, **top)
        try:
            return await self._reload("settings_refused")
        finally:
            self.settings, self._error = before, None

    async def _reload(self, event: str) -> dict[str, Any]:
        count = len(self._outcomes(event))
        self.reloads.ask()
        await eventually(lambda: len(self._outcomes(event)) > count)
        return self._outcomes(event)[-1]

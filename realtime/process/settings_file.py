"""Reads the settings of a process from its file and its environment, and checks the files that they name.

The command line reads them at each start, and each reload. `realtime.settings.config` says what is allowed.
"""

from __future__ import annotations

import os
from pathlib import Path

from realtime.errors import SettingError
from realtime.postgres.tls import check_url
from realtime.settings.config import ENVIRONMENT_PREFIX, Project, Settings, load
from realtime.settings.database_url import parse_database_url

MAX_BYTES = 16 * 1024 * 1024  # of a settings file; a bigger file is something else


def read_settings(config: Path | None) -> Settings:
    """Read a file, or none; the environment overrides it. Raises SettingError."""
    own = {name: value for name, value in os.environ.items() if name.startswith(ENVIRONMENT_PREFIX)}
    return load(_text(config) if config else "", own)


def read_server_settings(config: Path | None) -> Settings:
    """Read the settings of a server process: a project, and all files that projects name, must exist."""
    settings = read_settings(config)
    if not settings.projects:
        raise SettingError("projects", "none is configured; name a file with --config")
    for project_id, project in settings.projects.items():
        check_addresses(project_id, project)
    return settings


def project_of(settings: Settings, name: str) -> Project:
    if name not in settings.projects:
        raise SettingError(f"projects.{name}", "missing")
    return settings.projects[name]


def check_addresses(project_id: str, project: Project) -> None:
    """Check the files that a project's database URLs name; raises SettingError."""
    for name in ("database_url", "listen_url"):
        url = getattr(project, name)
        if url is not None:
            setting = f"projects.{project_id}.{name}"
            check_url(parse_database_url(url, setting), setting)


def forget_libpq() -> None:
    """Delete `PGHOST`, `PGSSLMODE` and the like from the environment: they must not change the settings."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def _text(config: Path) -> str:
    try:
        with config.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise SettingError("--config", f"{config} has more than {MAX_BYTES} bytes")
        return content.decode()
    except (OSError, ValueError) as error:
        raise SettingError("--config", f"{config}: {getattr(error, 'strerror', None) or error}") from error

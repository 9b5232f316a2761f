"""Options that several commands share, and the settings file that a command reads by default."""

from __future__ import annotations

from pathlib import Path

import click

from realtime.process.settings_file import read_settings
from realtime.settings.config import CONFIG_VARIABLE, Settings

DEV_DIRECTORY = Path(".realtime")
DEV_CONFIG = DEV_DIRECTORY / "realtime.toml"
PORT = click.IntRange(1, 65_535)

config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar=CONFIG_VARIABLE,
    help=f"TOML file with the settings; {CONFIG_VARIABLE} may name it, too.",
)
project_option = click.option("--project", default="demo", show_default=True, help="Project id.")
internal_port_option = click.option(
    "--internal-port", type=PORT, help="Also serve /metrics, /healthz and /readyz on this port."
)


def settings_here(config: Path | None) -> Settings:
    """Read the given file, or else the file that `realtime dev` wrote in the current directory."""
    if config is None and DEV_CONFIG.exists():
        config = DEV_CONFIG
    return read_settings(config)

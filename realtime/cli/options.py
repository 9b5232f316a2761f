"""Options that several commands share, and the settings file that a command reads by default."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import click

from realtime.causes.sentence import server_name
from realtime.errors import SettingError
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
url_option = click.option(
    "--url", default="http://127.0.0.1:8000", show_default=True, help="Address of a gateway."
)
token_option = click.option(
    "--token", "given_token", help="By default one is made with the project's jwt_secret."
)
internal_port_option = click.option(
    "--internal-port", type=PORT, help="Also serve /metrics, /healthz and /readyz on this port."
)


def settings_here(config: Path | None) -> Settings:
    """Read the given file, or else the file that `realtime dev` wrote in the current directory."""
    if config is None and DEV_CONFIG.exists():
        config = DEV_CONFIG
    return read_settings(config)


def server_of_url(url: str) -> str:
    """Return host and port of `--url`, and no other part of it; raises SettingError for an invalid URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        name = str(parts.hostname or "").encode("idna").decode()
    except (KeyError, ValueError):
        name = ""
    if not name or re.search(r"[\s@]", url):  # aiohttp refuses a login in the URL beside the token
        what = "what was given" if "@" in url else url
        raise SettingError("--url", f"{what} is not an address like https://api.example.com")
    return server_name(name, port)

"""`realtime notifier`: run one notifier in this process."""

from __future__ import annotations

from pathlib import Path

import click

from realtime.cli.options import config_option, internal_port_option
from realtime.process.reload import Reloads
from realtime.process.run import hold_hangups, live
from realtime.process.settings_file import read_server_settings


@click.command()
@config_option
@click.option(
    "--host",
    default="0.0.0.0",  # noqa: S104 - a server in a container
    show_default=True,
    help="Address of the internal port.",
)
@internal_port_option
def notifier(config: Path | None, host: str, internal_port: int | None) -> None:
    """Publish committed changes to Redis."""
    from notifier import app

    hold_hangups()
    reloads = Reloads(lambda: read_server_settings(config))
    settings = read_server_settings(config)
    live(app.run(settings, host, internal_port, reloads=reloads), on_hangup=reloads.ask)

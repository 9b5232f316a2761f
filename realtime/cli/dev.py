"""`realtime dev`: run all processes on this machine; see `realtime.dev.run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import ujson

from realtime.cli.options import DEV_DIRECTORY, PORT
from realtime.process.run import live

if TYPE_CHECKING:
    from realtime.dev.run import Ready


@click.command()
@click.option(
    "--port",
    type=PORT,
    default=8000,
    show_default=True,
    help="Port of the first gateway; the others take the ports after it.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEV_DIRECTORY,
    show_default=True,
    help="Directory of the servers' data and settings; it is kept.",
)
@click.option("--nodes", type=click.IntRange(1, 16), default=1, show_default=True, help="Number of gateways.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON when everything is ready.")
def dev(port: int, data_dir: Path, nodes: int, as_json: bool) -> None:
    """Run everything on this machine, with an embedded Postgres and Valkey."""
    from realtime.dev.run import run

    def announce(ready: Ready) -> None:
        print(_as_json(ready) if as_json else _as_text(ready, data_dir), flush=True)

    live(run(data_dir, port, nodes, announce))


def _as_json(ready: Ready) -> str:
    return ujson.dumps(msgspec.structs.asdict(ready), escape_forward_slashes=False)


def _as_text(ready: Ready, data_dir: Path) -> str:
    from realtime.dev.run import listen_command, psql_command

    return (
        f"ready {ready.url} project demo\n"
        f"  token          {ready.token}\n"
        f"  service token  {ready.service_token}\n"
        f"  database       {ready.database_url}\n"
        f"  redis          {ready.redis_url}\n"
        f"  listen         {listen_command(ready, data_dir)}\n"
        f"  try            {psql_command(ready)}"
    )

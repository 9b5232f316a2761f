"""`realtime gateway`: run one gateway in this process, or several child processes that share a port."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from realtime.cli.options import PORT, config_option, internal_port_option
from realtime.process.memory_limit import share_budget
from realtime.process.reload import Reloads
from realtime.process.run import hold_hangups, live
from realtime.process.settings_file import read_server_settings


@click.command()
@config_option
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")  # noqa: S104
@click.option("--port", type=PORT, default=8000, show_default=True, help="Port of WebSockets and REST.")
@internal_port_option
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Number of processes that share the port.",
)
@click.option("--reuse-port", is_flag=True, hidden=True)
def gateway(
    config: Path | None, host: str, port: int, internal_port: int | None, workers: int, reuse_port: bool
) -> None:
    """Serve WebSockets and REST."""
    from gateway import app

    hold_hangups()
    reloads = Reloads(lambda: read_server_settings(config))
    settings = read_server_settings(config)
    if workers == 1:
        work = app.run(settings, host, port, internal_port, reuse_port=reuse_port, reloads=reloads)
        live(work, on_hangup=reloads.ask)
        return
    share_budget(settings, workers)
    commands = [_worker_command(config, host, port, internal_port, number) for number in range(workers)]
    hangups = asyncio.Event()
    live(_supervise(commands, settings.drain_seconds, hangups), on_hangup=hangups.set)


def _worker_command(
    config: Path | None, host: str, port: int, internal_port: int | None, number: int
) -> list[str]:
    """Return a worker's arguments of `realtime`; each worker has its own internal port."""
    words = ["gateway", "--host", host, "--port", str(port), "--reuse-port"]
    if internal_port is not None:
        words += ["--internal-port", str(internal_port + number)]
    if config is not None:
        words += ["--config", str(config)]
    return words


async def _supervise(commands: list[list[str]], drain_seconds: float, hangups: asyncio.Event) -> None:
    from realtime.process.supervisor import DEFAULTS, ChildTimings, processes

    timings = ChildTimings(stop_seconds=drain_seconds + DEFAULTS.stop_seconds)
    async with processes(commands, timings) as children:
        while True:
            await hangups.wait()
            hangups.clear()
            children.send(signal.SIGHUP)

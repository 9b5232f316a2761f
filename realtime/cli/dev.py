"""`realtime dev`: run all processes on this machine; see `realtime.dev.run`.

On a terminal it shows what a person wants to read: addresses, what to try, then changes and connections as
they happen; the log is in a file. Elsewhere it prints one block of lines, and the log stays on stderr.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import ujson

from realtime.cli.options import DEV_DIRECTORY, PORT
from realtime.cli.output import is_terminal, paint, terminal_width
from realtime.cli.screen import Screen
from realtime.logs.setup import LogFormat, configure_logging
from realtime.process.run import live
from realtime.waiting.survival import Part

if TYPE_CHECKING:
    from realtime.dev.activity import Activity
    from realtime.dev.run import Ready

LOOK_SECONDS = 0.25  # between two looks at what happens

_part = Part("terminal")


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

    if is_terminal() and not as_json:
        return _on_a_terminal(data_dir, port, nodes)

    async def announce(ready: Ready) -> None:
        print(_as_json(ready) if as_json else _as_text(ready, data_dir), flush=True)

    live(run(data_dir, port, nodes, announce))


def _on_a_terminal(data_dir: Path, port: int, nodes: int) -> None:
    from realtime.dev.run import run

    with Screen(sys.stdout.fileno(), sys.stdout.encoding) as screen, _log_of(data_dir, screen) as log:
        screen.show(paint("starting Postgres, Valkey, a notifier and a gateway …", dim=True))

        def announce(ready: Ready) -> None:
            head, *others = _as_text(ready, data_dir).splitlines()
            screen.show(
                paint(head, "green", bold=True), *others, *([f"  log            {log}"] if log else ())
            )
            screen.show("", paint("changes and connections, as they happen (Ctrl-C stops):", dim=True))

        live(run(data_dir, port, nodes, lambda ready: _watch(ready, screen, announce)))
        screen.show(paint(f"stopped; the data stays in {data_dir}", dim=True))


@contextmanager
def _log_of(data_dir: Path, screen: Screen) -> Iterator[Path | None]:
    """Send the log to a file, unless it goes somewhere else than to the terminal; warnings are shown."""
    from realtime.cli.dev_lines import Quota, record_line
    from realtime.dev.log_file import log_to_file

    if not sys.stderr.isatty():
        yield None
        return
    quota = Quota("warnings", time.monotonic())
    level, log_format = os.environ.get("LOG_LEVEL", "INFO"), LogFormat(os.environ.get("LOG_FORMAT", "auto"))

    def show_record(line: bytes) -> None:
        shown, now = record_line(line, str(data_dir / "dev.log"), terminal_width()), time.monotonic()
        if shown is not None and quota.take(1, 1, now):
            screen.show(shown)
        screen.show(*quota.summary(now))

    with log_to_file(data_dir, show_record) as path:
        try:
            # Standard error is no terminal now, as the other processes see for themselves.
            configure_logging(level.upper(), LogFormat.JSON if log_format is LogFormat.AUTO else log_format)
            yield path
        finally:
            configure_logging(level.upper(), log_format)


async def _watch(ready: Ready, screen: Screen, announce: Callable[[Ready], None]) -> None:
    """Announce that all is ready, and show what happens from then on."""
    from realtime.dev.activity import Activity
    from realtime.dev.run import PROJECT
    from realtime.redis.client import connect

    async with connect(ready.redis_url) as store:
        activity = Activity(store, PROJECT)
        with _part.survives():
            await activity.begin()  # before the first person can do something
        announce(ready)
        await _part.keep_running(lambda: _show_what_happens(activity, screen))


async def _show_what_happens(activity: Activity, screen: Screen) -> None:
    from realtime.cli.dev_lines import Ticker

    ticker = Ticker(time.monotonic())
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        screen.show(*ticker.lines(await activity.read(), time.monotonic(), terminal_width()))


def _as_json(ready: Ready) -> str:
    return ujson.dumps(msgspec.structs.asdict(ready), escape_forward_slashes=False)


def _as_text(ready: Ready, data_dir: Path) -> str:
    from realtime.dev.run import listen_command, psql_command

    return (
        f"ready {ready.url} project demo\n"
        f"  dashboard      {ready.dashboard}\n"
        f"  demo           {ready.url}/demo\n"
        f"  token          {ready.token}\n"
        f"  service token  {ready.service_token}\n"
        f"  database       {ready.database_url}\n"
        f"  redis          {ready.redis_url}\n"
        f"  listen         {listen_command(ready, data_dir)}\n"
        f"  try            {psql_command(ready)}"
    )

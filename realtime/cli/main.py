"""The command line: each command reads the settings, starts one part and turns faults into one line.

realtime dev | gateway | notifier | token | listen | migrate
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from pathlib import Path
from typing import Any

import click

from realtime import __version__
from realtime.auth.tokens import DEFAULT_ROLE, issue
from realtime.errors import RealtimeError, SettingError, Unavailable
from realtime.logs.setup import LogFormat, configure_logging
from realtime.process.memory_limit import share_budget
from realtime.process.reload import Reloads
from realtime.process.run import hold_hangups, live
from realtime.process.settings_file import (
    check_addresses,
    forget_libpq,
    project_of,
    read_server_settings,
    read_settings,
)
from realtime.settings.config import CONFIG_VARIABLE, Settings
from realtime.settings.database_url import parse_database_url

DEV_DIRECTORY = Path(".realtime")
DEV_CONFIG = DEV_DIRECTORY / "realtime.toml"

config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar=CONFIG_VARIABLE,
    help=f"TOML file with the settings; also {CONFIG_VARIABLE}.",
)
PORT = click.IntRange(1, 65_535)
_ADDRESS_FAULTS = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES)

project_option = click.option("--project", default="demo", show_default=True, help="Project id.")
internal_port_option = click.option(
    "--internal-port", type=PORT, help="Also serve /metrics, /healthz and /readyz on this port."
)


class _Commands(click.Group):
    """Turns what a person can mend into one line and status 1."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (RealtimeError, OSError, BaseExceptionGroup) as error:
            faults = _leaves(error)
            if not all(map(_can_be_mended, faults)):
                raise
            raise click.ClickException("; ".join(dict.fromkeys(map(_sentence, faults)))) from error


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in _leaves(one)]
    return [error]


def _can_be_mended(error: BaseException) -> bool:
    """Whether it is a fault of ours with a sentence, or an address that we cannot listen on."""
    return isinstance(error, RealtimeError) or (isinstance(error, OSError) and error.errno in _ADDRESS_FAULTS)


def _sentence(error: BaseException) -> str:
    """What a person at the terminal is told; of a server that is away, which it is and why."""
    if isinstance(error, Unavailable):
        return f"{error.message}: {error.reason}" if error.reason else error.message
    return str(error)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="realtime")
@click.option(
    "--log-level", default="INFO", envvar="LOG_LEVEL", show_default=True, help="Of the log on stderr."
)
@click.option(
    "--log-format",
    type=click.Choice([one.value for one in LogFormat]),
    default=LogFormat.AUTO.value,
    envvar="LOG_FORMAT",
    show_default=True,
    help="Of the same; auto is text on a terminal, else JSON.",
)
def main(log_level: str, log_format: str) -> None:
    """Live database changes over WebSocket."""
    try:
        configure_logging(log_level.upper(), LogFormat(log_format))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--log-level") from error
    forget_libpq()
    # For the processes that `dev` and `--workers` start.
    os.environ.update(LOG_LEVEL=log_level, LOG_FORMAT=log_format)


@main.command()
@click.option(
    "--port", type=PORT, default=8000, show_default=True, help="Of the first gateway; more follow it."
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEV_DIRECTORY,
    show_default=True,
    help="Where everything lies and stays.",
)
@click.option("--nodes", type=click.IntRange(1, 16), default=1, show_default=True, help="Number of gateways.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON when ready.")
def dev(port: int, data_dir: Path, nodes: int, as_json: bool) -> None:
    """Run everything on this machine, with an embedded Postgres and Valkey."""
    import msgspec

    from realtime.dev.run import Ready, listen_command, psql_command, run

    def announce(ready: Ready) -> None:
        if as_json:
            print(msgspec.json.encode(ready).decode(), flush=True)
            return
        print(
            f"ready {ready.url} project demo\n"
            f"  token          {ready.token}\n"
            f"  service token  {ready.service_token}\n"
            f"  database       {ready.database_url}\n"
            f"  redis          {ready.redis_url}\n"
            f"  listen         {listen_command(ready, data_dir)}\n"
            f"  try            {psql_command(ready)}",
            flush=True,
        )

    live(run(data_dir, port, nodes, announce))


@main.command()
@config_option
@click.option("--host", default="0.0.0.0", show_default=True)  # noqa: S104 - a server in a container
@click.option("--port", type=PORT, default=8000, show_default=True)
@internal_port_option
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes on this port."
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
    commands = []
    for number in range(workers):
        command = ["gateway", "--host", host, "--port", str(port), "--reuse-port"]
        if internal_port is not None:
            command += ["--internal-port", str(internal_port + number)]
        commands.append(command + (["--config", str(config)] if config else []))
    hangups = asyncio.Event()
    live(_supervise(commands, settings.drain_seconds, hangups), on_hangup=hangups.set)


async def _supervise(commands: list[list[str]], drain_seconds: float, hangups: asyncio.Event) -> None:
    from realtime.process.supervisor import STOP_SECONDS, processes

    async with processes(commands, drain_seconds + STOP_SECONDS) as children:
        while True:
            await hangups.wait()
            hangups.clear()
            children.send(signal.SIGHUP)


@main.command()
@config_option
@click.option("--host", default="0.0.0.0", show_default=True, help="Of the internal port.")  # noqa: S104
@internal_port_option
def notifier(config: Path | None, host: str, internal_port: int | None) -> None:
    """Turn committed changes into publications."""
    from notifier import app

    hold_hangups()
    reloads = Reloads(lambda: read_server_settings(config))
    settings = read_server_settings(config)
    live(app.run(settings, host, internal_port, reloads=reloads), on_hangup=reloads.ask)


@main.command()
@config_option
@project_option
@click.option("--sub", help="The user's id.")
@click.option("--role", default=DEFAULT_ROLE, show_default=True, help="service_role may administer.")
@click.option(
    "--ttl", type=click.IntRange(min=1), default=3600, show_default=True, help="Seconds until it runs out."
)
def token(config: Path | None, project: str, sub: str | None, role: str, ttl: int) -> None:
    """Print a token for a project that has a jwt_secret."""
    print(_issue(read_settings(config or _dev_config()), project, sub, role, ttl))


@main.command()
@config_option
@click.argument("channels", nargs=-1, required=True, metavar="CHANNEL…")
@project_option
@click.option("--url", default="http://127.0.0.1:8000", show_default=True)
@click.option("--token", "given_token", help="Without it one is made by the project's jwt_secret.")
def listen(
    config: Path | None, channels: tuple[str, ...], project: str, url: str, given_token: str | None
) -> None:
    """Print events as they come."""
    from realtime.cli import listen as client

    own_token = given_token or _issue(
        read_settings(config or _dev_config()), project, None, DEFAULT_ROLE, None
    )
    live(client.listen(url, project, own_token, channels))


@main.command()
@config_option
@project_option
@click.option("--print-sql", is_flag=True, help="Print what an administrator may run instead.")
@click.option(
    "--role",
    default=None,
    metavar="NAME",
    help="With --print-sql: who is to use the schema; else the user of database_url.",
)
def migrate(config: Path | None, project: str, print_sql: bool, role: str | None) -> None:
    """Install or upgrade the schema `realtime` in a project's database."""
    from realtime.postgres import migrations

    if print_sql:
        print(migrations.migration_sql(role or _role_of(config, project)))
        return
    chosen = project_of(read_settings(config or _dev_config()), project)
    check_addresses(project, chosen)
    live(migrations.migrate_project(chosen))
    print(f"the schema realtime of project {project} is up to date")


def _role_of(config: Path | None, project: str) -> str:
    url = project_of(read_settings(config or _dev_config()), project).database_url
    user = parse_database_url(url, f"projects.{project}.database_url").user
    if user is None:
        raise SettingError("--role", "missing, and database_url names no user")
    return user


def _dev_config() -> Path | None:
    """What `realtime dev` wrote here, so that the other commands find it without being told."""
    return DEV_CONFIG if DEV_CONFIG.exists() else None


def _issue(settings: Settings, name: str, sub: str | None, role: str, ttl: int | None) -> str:
    project = project_of(settings, name)
    longest = project.max_token_seconds or 1e9  # 30 years, where it has no bound
    if ttl is not None and ttl > longest:
        raise SettingError("--ttl", f"the project takes no token for more than {longest:g} seconds")
    if project.jwt_secret is None:
        raise SettingError(f"projects.{name}.jwt_secret", "missing; a token is made only with a secret")
    return issue(
        project.jwt_secret,
        name,
        sub,
        role,
        min(longest, 24 * 3600) if ttl is None else ttl,
        time.time(),
        audience=project.jwt_audience,
        issuer=project.jwt_issuer,
    )

"""The command `realtime`: options that all commands share, and errors as one line on standard error.

Each command has its own module in this package: it reads the settings and starts one part.
"""

from __future__ import annotations

import errno
import os

import click

from realtime import __version__
from realtime.cli.clients import clients, disconnect
from realtime.cli.dev import dev
from realtime.cli.gateway import gateway
from realtime.cli.listen import listen
from realtime.cli.migrate import migrate
from realtime.cli.notifier import notifier
from realtime.cli.send import presence, send
from realtime.cli.status import status
from realtime.cli.tables import disable, enable, tables
from realtime.cli.token import token
from realtime.cli.typescript import types
from realtime.errors import RealtimeError, Unavailable
from realtime.logs.setup import LogFormat, configure_logging
from realtime.process.settings_file import forget_libpq

_ADDRESS_ERRORS = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES)


class _Commands(click.Group):
    """Prints errors that a person can fix as one line, and exits with status 1."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except (RealtimeError, OSError, BaseExceptionGroup) as error:
            errors = _leaves(error)
            if not all(map(_can_be_fixed, errors)):
                raise
            raise click.ClickException("; ".join(dict.fromkeys(map(_sentence, errors)))) from error


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in _leaves(one)]
    return [error]


def _can_be_fixed(error: BaseException) -> bool:
    """Whether an error is one of ours, with a readable message, or an address that we cannot listen on."""
    return isinstance(error, RealtimeError) or (isinstance(error, OSError) and error.errno in _ADDRESS_ERRORS)


def _sentence(error: BaseException) -> str:
    """Return an error's message for the terminal; for an outage, it names the server and the cause."""
    if isinstance(error, Unavailable):
        return f"{error.message}: {error.reason}" if error.reason else error.message
    return str(error)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="realtime")
@click.option(
    "--log-level", default="INFO", envvar="LOG_LEVEL", show_default=True, help="Level of the log on stderr."
)
@click.option(
    "--log-format",
    type=click.Choice([one.value for one in LogFormat]),
    default=LogFormat.AUTO.value,
    envvar="LOG_FORMAT",
    show_default=True,
    help="Format of the log; auto is text on a terminal, else JSON.",
)
def main(log_level: str, log_format: str) -> None:
    """Live database changes over WebSocket."""
    try:
        configure_logging(log_level.upper(), LogFormat(log_format))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--log-level") from error
    forget_libpq()
    # The processes that `dev` and `--workers` start inherit these variables.
    os.environ.update(LOG_LEVEL=log_level, LOG_FORMAT=log_format)


_OF_THE_SERVICE = (status, tables, enable, disable, clients, disconnect, send, presence)

for _command in (dev, gateway, notifier, token, listen, migrate, types, *_OF_THE_SERVICE):
    main.add_command(_command)

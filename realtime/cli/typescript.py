"""`realtime types`: TypeScript types of a project's tables, from the catalogue of its database."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from realtime.cli.options import config_option, project_option, settings_here
from realtime.errors import StatementFailed, Unavailable
from realtime.process.run import live
from realtime.process.settings_file import check_addresses, project_of
from realtime.settings.config import Project


@click.command()
@config_option
@project_option
@click.option(
    "--integers",
    type=click.Choice(["number", "bigint", "string"]),
    default="number",
    show_default=True,
    help="The client's option of this name: what integers beyond 2^53 are.",
)
def types(config: Path | None, project: str, integers: str) -> None:
    """Print TypeScript types of a project's tables, for connect<Db>() of the JavaScript client."""
    chosen = project_of(settings_here(config), project)
    check_addresses(project, chosen)
    live(_print_types(chosen, integers))


async def _print_types(project: Project, integers: str) -> None:
    from realtime.causes.sentence import why
    from realtime.cli.declarations import Integers, declarations
    from realtime.postgres.column_types import read_typed_tables
    from realtime.postgres.connector import connector_for
    from realtime.postgres.pool import Database

    database = Database(project)
    try:
        typed = await read_typed_tables(database)
    except StatementFailed as error:
        reason = why(error, connector_for(project.database_url).server_name)
        raise Unavailable("the catalogue cannot be read", reason) from error
    finally:
        await database.close()
    # UTF-8 whatever the terminal's encoding is: a compiler reads it.
    sys.stdout.buffer.write(declarations(typed, Integers(integers)).encode())

"""`realtime migrate`: install the schema `realtime` in a project's database, or print its SQL."""

from __future__ import annotations

from pathlib import Path

import click

from realtime.cli.options import config_option, project_option, settings_here
from realtime.errors import SettingError
from realtime.process.run import live
from realtime.process.settings_file import check_addresses, project_of
from realtime.settings.database_url import parse_database_url


@click.command()
@config_option
@project_option
@click.option("--print-sql", is_flag=True, help="Print the SQL for an administrator, and run nothing.")
@click.option(
    "--role",
    default=None,
    metavar="NAME",
    help="With --print-sql: the role that will use the schema; by default the user of database_url.",
)
def migrate(config: Path | None, project: str, print_sql: bool, role: str | None) -> None:
    """Install or upgrade the schema `realtime` in a project's database."""
    from realtime.postgres import migrations

    if print_sql:
        print(migrations.migration_sql(role or _role_of(config, project)))
        return
    chosen = project_of(settings_here(config), project)
    check_addresses(project, chosen)
    live(migrations.migrate_project(chosen))
    print(f"the schema realtime of project {project} is up to date")


def _role_of(config: Path | None, project: str) -> str:
    url = project_of(settings_here(config), project).database_url
    user = parse_database_url(url, f"projects.{project}.database_url").user
    if user is None:
        raise SettingError("--role", "missing, and database_url names no user")
    return user

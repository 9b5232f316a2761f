"""`realtime token`: make a token for a project with the project's jwt_secret."""

from __future__ import annotations

import time
from pathlib import Path

import click

from realtime.auth.tokens import DEFAULT_ROLE, issue
from realtime.cli.options import config_option, project_option, settings_here
from realtime.errors import SettingError
from realtime.process.settings_file import project_of
from realtime.settings.config import Settings

DAY_SECONDS = 24 * 3600
LONGEST_SECONDS = 1e9  # 30 years, for a project without a bound


@click.command()
@config_option
@project_option
@click.option("--sub", help="Id of the user.")
@click.option("--role", default=DEFAULT_ROLE, show_default=True, help="service_role may administer.")
@click.option(
    "--ttl", type=click.IntRange(min=1), default=3600, show_default=True, help="Seconds until it expires."
)
def token(config: Path | None, project: str, sub: str | None, role: str, ttl: int) -> None:
    """Print a token for a project that has a jwt_secret."""
    print(issue_token(settings_here(config), project, sub, role, ttl))


def issue_token(settings: Settings, name: str, sub: str | None, role: str, ttl: int | None) -> str:
    """Return a token for a project; the default `ttl` is a day, or less if the project allows only less.

    Raises SettingError for a project without a secret, and for a `ttl` that the project does not allow.
    """
    project = project_of(settings, name)
    longest = project.max_token_seconds or LONGEST_SECONDS
    if ttl is not None and ttl > longest:
        raise SettingError(
            "--ttl", f"the project accepts no token that is valid for more than {longest:g} seconds"
        )
    if project.jwt_secret is None:
        raise SettingError(f"projects.{name}.jwt_secret", "missing; a token is made only with a secret")
    return issue(
        project.jwt_secret,
        name,
        sub,
        role,
        min(longest, DAY_SECONDS) if ttl is None else ttl,
        time.time(),
        audience=project.jwt_audience,
        issuer=project.jwt_issuer,
    )

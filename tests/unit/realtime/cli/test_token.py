"""How long a token lives that the command line makes, and for which projects it makes none."""

from __future__ import annotations

import jwt
import pytest

from realtime.cli.token import DAY_SECONDS, issue_token
from realtime.errors import SettingError
from realtime.settings.config import Project, Settings

SECRET = "s" * 32


def settings(**project: object) -> Settings:
    demo = Project(database_url="postgresql://db/app", **project)  # type: ignore[arg-type]
    return Settings(redis_url="redis://cache", projects={"demo": demo})


def seconds_of(token: str) -> float:
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    return claims["exp"] - claims["iat"]


@pytest.mark.parametrize(
    ("bound", "ttl", "seconds"),
    [(0, 60, 60), (0, None, DAY_SECONDS), (600, 600, 600), (600, None, 600), (10**6, None, DAY_SECONDS)],
)
def test_a_token_is_valid_for_as_long_as_was_asked_for(bound: int, ttl: int | None, seconds: int) -> None:
    token = issue_token(
        settings(jwt_secret=SECRET, max_token_seconds=bound), "demo", "bob", "authenticated", ttl
    )
    assert seconds_of(token) == pytest.approx(seconds, abs=1)


def test_a_token_is_not_valid_for_longer_than_the_project_allows() -> None:
    with pytest.raises(SettingError, match=r"^--ttl: .* more than 600 seconds"):
        issue_token(settings(jwt_secret=SECRET, max_token_seconds=600), "demo", None, "authenticated", 601)


def test_a_project_without_a_secret_gets_no_token() -> None:
    with pytest.raises(SettingError, match=r"^projects\.demo\.jwt_secret: missing"):
        issue_token(settings(jwks_url="https://id.example.com/keys"), "demo", None, "authenticated", 60)

"""What newer settings of a project replace in a running process, setting by setting."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from realtime.settings import reloading
from realtime.settings.config import Limits, Namespace, Project, Settings
from realtime.settings.reloading import LIMITS, PROJECT, Built, to_build_anew

# Of each setting another value than its default.
OTHERS: dict[str, Any] = {
    "database_url": "postgresql://127.0.0.1/elsewhere",
    "listen_url": "postgresql://127.0.0.1/direct",
    "doorbell": "off",
    "jwt_secret": "a secret of more than thirty-two bytes",
    "jwt_public_key": "a key",
    "jwks_url": "https://id.example.com/keys",
    "jwt_algorithms": ["RS256"],
    "jwt_audience": "app",
    "jwt_issuer": "us",
    "max_token_seconds": 60.0,
    "allowed_origins": ["*"],
    "history_entries": 7,
    "history_seconds": 7.0,
    "outbox_max_rows": 7,
    "outbox_max_bytes": 7,
    "limits": Limits(max_queue_bytes=2_048),
    "namespaces": {"room": Namespace(history_entries=1)},
}
KEYS, SESSIONS, RATE, FEED = (
    Built.TOKEN_KEYS,
    Built.DATABASE_SESSIONS,
    Built.CONNECTION_RATE,
    Built.FEED,
)
EXPECTED: dict[str, set[Built]] = {
    "database_url": {SESSIONS, FEED},
    "listen_url": {SESSIONS, FEED},
    "doorbell": {FEED},
    "jwt_secret": {KEYS},
    "jwt_public_key": {KEYS},
    "jwks_url": {KEYS},
    "jwt_algorithms": {KEYS},
    "jwt_audience": {KEYS},
    "jwt_issuer": {KEYS},
    "max_token_seconds": {KEYS},
    "allowed_origins": set(),
    "history_entries": {FEED},
    "history_seconds": {FEED},
    "outbox_max_rows": {FEED},
    "outbox_max_bytes": {FEED},
    "limits": set(),
    "namespaces": set(),
}


def settings(limits: Limits | None = None, **changed: Any) -> Settings:
    project = Project(database_url="postgresql://127.0.0.1/app", limits=limits or Limits())
    return Settings(projects={"demo": msgspec.structs.replace(project, **changed)})


def anew(**changed: Any) -> set[Built]:
    return set(to_build_anew(settings(), settings(**changed), "demo"))


def test_every_setting_of_a_project_says_what_is_built_from_it() -> None:
    assert set(PROJECT) == set(Project.__struct_fields__)
    assert set(LIMITS) == set(Limits.__struct_fields__)


@pytest.mark.parametrize("name", Project.__struct_fields__)
def test_a_setting_replaces_what_is_built_from_it_and_nothing_else(name: str) -> None:
    assert anew(**{name: OTHERS[name]}) == EXPECTED[name]


@pytest.mark.parametrize("name", Limits.__struct_fields__)
def test_of_the_limits_only_the_rate_of_connections_is_counted_anew(name: str) -> None:
    other = getattr(Limits(), name) + 1_024
    changed = msgspec.structs.replace(Limits(), **{name: other})
    assert anew(limits=changed) == ({RATE} if name == "connections_per_second" else set())


def test_settings_that_are_the_same_replace_nothing() -> None:
    assert anew() == set()


def test_the_direct_address_matters_to_a_gateway_only_by_being_there() -> None:
    before, after = (settings(listen_url=f"postgresql://127.0.0.1/{name}") for name in ("a", "b"))
    assert to_build_anew(before, after, "demo") == {FEED}


def test_a_history_that_is_the_common_one_is_no_other_history() -> None:
    assert anew(history_entries=Settings().history_entries) == set()
    assert anew(history_seconds=Settings().history_seconds) == set()


@pytest.mark.parametrize(
    ("table", "name", "changed"),
    [
        ("PROJECT", "jwt_issuer", {"jwt_issuer": "us"}),
        ("LIMITS", "max_connections", {"limits": Limits(max_connections=1)}),
    ],
)
def test_a_setting_that_nobody_declared_replaces_everything(
    monkeypatch: pytest.MonkeyPatch, table: str, name: str, changed: dict[str, Any]
) -> None:
    """A setting that was forgotten costs a restart of all parts, and is never without effect."""
    declared = {**getattr(reloading, table)}
    del declared[name]
    monkeypatch.setattr(reloading, table, declared)
    assert anew(**changed) == set(Built)
    assert anew(doorbell="off") == {FEED}

"""What a process builds from each setting of a project, and builds again when a reload changes the setting.

The parts that apply reloaded settings use it. Every setting of a project is listed, also a setting from which
nothing is built because it is read at each use; a test finds a missing setting. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto

from realtime.settings.config import Limits, Project, Settings


class Built(Enum):
    """Something that a process builds from settings once, and uses until a reload replaces it."""

    TOKEN_KEYS = auto()  # in a gateway: the keys and rules that verify tokens
    DATABASE_SESSIONS = auto()  # in a gateway: the pool of connections to Postgres
    CONNECTION_RATE = auto()  # in a gateway: the token bucket for new connections
    FEED = auto()  # in a notifier: the reader of a project's changes


# Returns what is built from a setting; it takes all settings and those of the project.
Reading = Callable[[Settings, Project], object]


def _limit(name: str) -> Reading:
    return lambda settings, project: getattr(project.limits, name)


def _itself(name: str) -> Reading:
    return lambda settings, project: getattr(project, name)


def _has_listen_url(settings: Settings, project: Project) -> bool:
    """A `listen_url` means a pooler: a gateway then uses no prepared statements and no session settings."""
    return project.listen_url is not None


def _history_entries(settings: Settings, project: Project) -> int:
    return project.history_entries or settings.history_entries


def _history_seconds(settings: Settings, project: Project) -> float:
    return project.history_seconds or settings.history_seconds


READ_EACH_TIME: Mapping[Built, Reading] = {}

PROJECT: Mapping[str, Mapping[Built, Reading]] = {
    "database_url": {
        Built.DATABASE_SESSIONS: _itself("database_url"),
        Built.FEED: _itself("database_url"),
    },
    "listen_url": {Built.DATABASE_SESSIONS: _has_listen_url, Built.FEED: _itself("listen_url")},
    "doorbell": {Built.FEED: _itself("doorbell")},
    "jwt_secret": {Built.TOKEN_KEYS: _itself("jwt_secret")},
    "jwt_public_key": {Built.TOKEN_KEYS: _itself("jwt_public_key")},
    "jwks_url": {Built.TOKEN_KEYS: _itself("jwks_url")},
    "jwt_algorithms": {Built.TOKEN_KEYS: _itself("jwt_algorithms")},
    "jwt_audience": {Built.TOKEN_KEYS: _itself("jwt_audience")},
    "jwt_issuer": {Built.TOKEN_KEYS: _itself("jwt_issuer")},
    "max_token_seconds": {Built.TOKEN_KEYS: _itself("max_token_seconds")},
    "allowed_origins": READ_EACH_TIME,
    "history_entries": {Built.FEED: _history_entries},
    "history_seconds": {Built.FEED: _history_seconds},
    "outbox_max_rows": {Built.FEED: _itself("outbox_max_rows")},
    "outbox_max_bytes": {Built.FEED: _itself("outbox_max_bytes")},
    "limits": {},  # each limit is listed below
    "namespaces": READ_EACH_TIME,
}

# A connection may keep the limits that it read when it opened; the next connection reads the newer limits.
LIMITS: Mapping[str, Mapping[Built, Reading]] = {
    "max_connections": READ_EACH_TIME,
    "max_connections_per_user": READ_EACH_TIME,
    "max_connections_per_ip": READ_EACH_TIME,
    "connections_per_second": {Built.CONNECTION_RATE: _limit("connections_per_second")},
    "upgrades_per_second_per_ip": READ_EACH_TIME,
    "refused_upgrades_per_second_per_ip": READ_EACH_TIME,
    "requests_per_second_per_ip": READ_EACH_TIME,
    "requests_per_second_per_token": READ_EACH_TIME,
    "max_channels_per_connection": READ_EACH_TIME,
    "max_message_bytes": READ_EACH_TIME,
    "max_state_bytes": READ_EACH_TIME,
    "max_change_bytes": READ_EACH_TIME,
    "max_history_bytes": READ_EACH_TIME,
    "max_presence_bytes": READ_EACH_TIME,
    "max_queue_bytes": READ_EACH_TIME,
    "slow_consumer_seconds": READ_EACH_TIME,
    "messages_per_second": READ_EACH_TIME,
}


def to_build_anew(older: Settings, newer: Settings, project_id: str) -> frozenset[Built]:
    """Return what must be built again for a project that is in both settings.

    A change of an undeclared setting replaces everything, so that the change is not missed.
    """
    before, after = older.projects[project_id], newer.projects[project_id]
    found: set[Built] = set()
    for name in Project.__struct_fields__:
        found |= _changed(PROJECT, name, (older, before), (newer, after), _itself(name))
    for name in Limits.__struct_fields__:
        found |= _changed(LIMITS, name, (older, before), (newer, after), _limit(name))
    return frozenset(found)


def _changed(
    declared: Mapping[str, Mapping[Built, Reading]],
    name: str,
    before: tuple[Settings, Project],
    after: tuple[Settings, Project],
    undeclared: Reading,
) -> set[Built]:
    built = declared.get(name, dict.fromkeys(Built, undeclared))
    return {one for one, read in built.items() if read(*before) != read(*after)}

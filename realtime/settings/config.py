"""Settings: their names, types, defaults and bounds.

`realtime.process.settings_file` passes the text of the TOML file and the environment to `load`; every part
takes what it needs from the returned `Settings`. Names contain units. This module reads no file and no
environment variable itself.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct, field

from realtime.errors import SettingError
from realtime.settings.database_url import parse_database_url
from realtime.settings.jwt_keys import ALGORITHMS, HMAC_ALGORITHM, algorithms_of_public_key, check_secret
from realtime.settings.redis_url import parse_redis_url

ENVIRONMENT_PREFIX = "REALTIME_"
CONFIG_VARIABLE = "REALTIME_CONFIG"
PROJECT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
MIN_SECRET_BYTES = 32
MIN_QUEUE_BUDGET_BYTES = 16 * 1024 * 1024
MAX_CHANGE_BYTES = 16 * 1024 * 1024  # a notifier needs twelve times as much memory for one change
MAX_MESSAGE_BYTES = 1024 * 1024 * 1024  # the reader of WebSocket frames counts in 32 bits
MOST = 2**53  # bound of every integer: Lua in Redis counts exactly up to here

Count = Annotated[int, Meta(ge=1, le=MOST)]
CountOrNone = Annotated[int, Meta(ge=0, le=MOST)]  # 0 means no bound
Rate = Annotated[float, Meta(ge=0, le=1e9)]  # per second; 0 means no limit
Seconds = Annotated[float, Meta(ge=0.001, le=1e9)]  # at most 30 years: TOML would also allow `inf`


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one project, its clients and its data."""

    max_connections: CountOrNone = 10_000
    max_connections_per_user: CountOrNone = 0
    max_connections_per_ip: CountOrNone = 0
    connections_per_second: Rate = 0
    upgrades_per_second_per_ip: Rate = 0
    refused_upgrades_per_second_per_ip: Rate = 50
    requests_per_second_per_ip: Rate = 200
    requests_per_second_per_token: Rate = 100
    max_channels_per_connection: Count = 100
    max_message_bytes: Annotated[int, Meta(ge=1024, le=MAX_MESSAGE_BYTES)] = 65_536
    max_state_bytes: Annotated[int, Meta(ge=2, le=MOST)] = 4_096
    max_change_bytes: Annotated[int, Meta(ge=1024, le=MAX_CHANGE_BYTES)] = 1_048_576
    max_history_bytes: CountOrNone = 536_870_912
    max_presence_bytes: CountOrNone = 134_217_728
    max_queue_bytes: Annotated[int, Meta(ge=1024, le=MOST)] = 1_048_576
    slow_consumer_seconds: Seconds = 5
    messages_per_second: Seconds = 100


class Namespace(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Broadcast channels with the same prefix: how much history each keeps for clients that resume."""

    history_entries: Count = 100
    history_seconds: Seconds = 300


class Project(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tenant: its database, the keys for its tokens, and the origins and limits of its clients."""

    database_url: str
    listen_url: str | None = None
    doorbell: Literal["auto", "off"] = "auto"
    jwt_secret: str | None = None
    jwt_public_key: str | None = None
    jwks_url: str | None = None
    jwt_algorithms: list[str] = field(default_factory=list)
    jwt_audience: str | None = None
    jwt_issuer: str | None = None
    max_token_seconds: Annotated[float, Meta(ge=0, le=1e9)] = 0  # of `exp` after now and `iat`; 0: no bound
    allowed_origins: list[str] = field(default_factory=list)
    history_entries: Count | None = None  # None: the value of Settings
    history_seconds: Seconds | None = None
    outbox_max_rows: CountOrNone = 0  # bound of waiting changes; 0 means no bound
    outbox_max_bytes: CountOrNone = 0
    limits: Limits = field(default_factory=Limits)
    namespaces: dict[str, Namespace] = field(default_factory=dict)

    @property
    def direct_url(self) -> str:
        """URL for LISTEN and for dedicated sessions: `listen_url`, if a pooler is behind `database_url`."""
        return self.listen_url or self.database_url


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of one process, read before it starts and at each reload."""

    redis_url: str = "redis://127.0.0.1:6379/0"
    heartbeat_seconds: Annotated[float, Meta(ge=0.1, le=1e9)] = 25
    presence_ttl_seconds: Annotated[float, Meta(ge=0.1, le=1e9)] = 30
    drain_seconds: Annotated[float, Meta(ge=0, le=3_600)] = 20
    poll_seconds: Seconds = 1
    history_entries: Count = 10_000
    history_seconds: Seconds = 3_600
    connection_history_entries: Count = 10_000
    connection_history_seconds: Seconds = 604_800
    trusted_proxies: list[str] = field(default_factory=list)
    queue_budget_bytes: CountOrNone = 0  # per gateway; 0 means a share of its memory
    gather_ms: Annotated[float, Meta(ge=0, le=1_000)] = 5  # most that a busy gateway delays a delivery
    dashboard: bool = True  # whether gateways serve `/dashboard`
    demo_page: bool = False  # whether they serve `/demo`, with tokens of project demo, to this machine
    limits: Limits = field(default_factory=Limits)
    projects: dict[str, Project] = field(default_factory=dict)


def load(toml_text: str, environment: Mapping[str, str]) -> Settings:
    """Return the settings of a TOML file; environment variables override the file.

    Raises SettingError, which names the setting, if a setting is unknown, missing or out of bounds.
    """
    try:
        # The common limits come first, so that an error in them is not reported for a project.
        tree: dict[str, object] = {"limits": {}, **tomllib.loads(toml_text)}
    except (ValueError, RecursionError) as error:  # ValueError: also for a number with thousands of digits
        raise SettingError("configuration file", f"not valid TOML: {error}") from error
    for name, value in environment.items():
        _overlay(tree, name, value)
    _check_text(tree, "")
    _inherit_limits(tree)
    settings = _convert(tree)
    for project_id, project in settings.projects.items():
        _check_project(project_id, project)
    for proxy in settings.trusted_proxies:
        try:
            ip_network(proxy)
        except ValueError as error:
            raise SettingError("trusted_proxies", str(error)) from error
    if 0 < settings.queue_budget_bytes < MIN_QUEUE_BUDGET_BYTES:
        raise SettingError("queue_budget_bytes", f"expected 0, or {MIN_QUEUE_BUDGET_BYTES} or more")
    parse_redis_url(settings.redis_url)
    return settings


# Kubernetes sets these variables for a Service with the name "realtime"; they are not settings.
_SERVICE_LINK = re.compile(
    r"REALTIME_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)


def _overlay(tree: dict[str, object], name: str, value: str) -> None:
    """Store the value of REALTIME_PROJECTS__DEMO__DATABASE_URL as projects.demo.database_url."""
    if not name.startswith(ENVIRONMENT_PREFIX) or name == CONFIG_VARIABLE or _SERVICE_LINK.fullmatch(name):
        return
    *parents, leaf = path = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
    if not all(path):
        raise SettingError(name, "is not a setting")
    for parent in parents:
        branch = tree.setdefault(parent, {})
        if not isinstance(branch, dict):
            raise SettingError(name, f"{parent} is not a table of settings")
        tree = branch
    tree[leaf] = _environment_value(value)


def _environment_value(value: str) -> object:
    if not value.startswith("["):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value  # a secret may start like a list; a wrong list fails in the type check


def _check_text(value: object, path: str) -> None:
    """Raise SettingError for a text that no server can accept: the environment may contain any bytes."""
    match value:
        case dict():
            for name, one in value.items():
                _check_text(name, path or "a setting")
                _check_text(one, f"{path}.{name}" if path else name)
        case list():
            for one in value:
                _check_text(one, path)
        case str() if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise SettingError(_printable(path), "is not UTF-8, or has a zero byte")


def _printable(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()


def _inherit_limits(tree: dict[str, object]) -> None:
    """Complete the limits of each project with the common limits."""
    projects, common = tree.get("projects"), tree.get("limits", {})
    if not isinstance(projects, dict) or not isinstance(common, dict):
        return
    for project in projects.values():
        if isinstance(project, dict) and isinstance(project.get("limits", {}), dict):
            project["limits"] = {**common, **project.get("limits", {})}


def _convert(tree: dict[str, object]) -> Settings:
    try:
        return msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        unknown = re.fullmatch(r"Object contains unknown field `(.*)`", reason)
        missing = re.fullmatch(r"Object missing required field `(.*)`", reason)
        at = _named_path(tree, path.removesuffix("`").removeprefix("."))
        if unknown or missing:
            leaf = (unknown or missing)[1]  # type: ignore[index]
            raise SettingError(
                f"{at}.{leaf}" if at else leaf, "unknown setting" if unknown else "missing"
            ) from error
        raise SettingError(at, reason) from error


def _named_path(tree: dict[str, Any], path: str) -> str:
    """Replace `[...]` by the project's id, since msgspec does not tell which key failed."""
    if not path.startswith("projects[...]"):
        return path
    for project_id, project in tree["projects"].items():
        try:
            msgspec.convert(project, Project, strict=False)
        except msgspec.ValidationError:
            return path.replace("projects[...]", f"projects.{project_id}", 1)
    return path


def _check_project(project_id: str, project: Project) -> None:
    where = f"projects.{project_id}"
    if not PROJECT_ID.fullmatch(project_id):
        raise SettingError(where, f"a project id is {PROJECT_ID.pattern}")
    for name in ("database_url", "listen_url"):
        url = getattr(project, name)
        if url is not None:
            parse_database_url(url, f"{where}.{name}")
    _check_keys(where, project)
    for origin in project.allowed_origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise SettingError(
                f"{where}.allowed_origins", f"{origin!r} is not an origin like https://app.example.com"
            )


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\*\.)?[^/*\s]+")


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        has_name = bool(host and host.encode("idna"))
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and has_name and not re.search(r"[\s\x00-\x1f\x7f]", url)


def _check_keys(where: str, project: Project) -> None:
    given = [
        name for name in ("jwt_secret", "jwt_public_key", "jwks_url") if getattr(project, name) is not None
    ]
    if len(given) != 1:
        raise SettingError(where, "give exactly one of jwt_secret, jwt_public_key and jwks_url")
    if project.jwt_secret is not None:
        allowed: tuple[str, ...] = (HMAC_ALGORITHM,)
        if len(project.jwt_secret.encode(errors="replace")) < MIN_SECRET_BYTES:
            raise SettingError(f"{where}.jwt_secret", f"shorter than {MIN_SECRET_BYTES} bytes")
        try:
            check_secret(project.jwt_secret)
        except ValueError as error:
            raise SettingError(f"{where}.jwt_secret", str(error)) from error
    elif project.jwt_public_key is not None:
        try:
            allowed = algorithms_of_public_key(project.jwt_public_key)
        except ValueError as error:
            raise SettingError(f"{where}.jwt_public_key", str(error)) from error
    else:
        allowed = ALGORITHMS
        if not _is_web_address(str(project.jwks_url)):
            raise SettingError(f"{where}.jwks_url", "expected an address like https://id.example.com/jwks")
    wrong = [algorithm for algorithm in project.jwt_algorithms if algorithm not in allowed]
    if wrong:
        raise SettingError(
            f"{where}.jwt_algorithms", f"{wrong[0]!r} does not fit {given[0]}; allowed: {', '.join(allowed)}"
        )

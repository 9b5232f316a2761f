"""REST: the settings in force for a project and their defaults; never a secret, an address or a key."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from gateway.http.context import Call
from realtime.settings.config import Limits, Namespace, Project, Settings

# What is shown is named here: a new setting is not shown before somebody has decided that it holds no secret.
HISTORY = ("history_entries", "history_seconds")
CONNECTION_HISTORY = ("connection_history_entries", "connection_history_seconds")
PROJECT = ("doorbell", "max_token_seconds", "outbox_max_rows", "outbox_max_bytes")
FLEET = (
    *("heartbeat_seconds", "presence_ttl_seconds", "drain_seconds", "poll_seconds", "queue_budget_bytes"),
    *("gather_ms", "dashboard"),
)
HIDDEN = {  # the others, by their struct
    Settings: ("redis_url", "trusted_proxies", "demo_page", "limits", "projects"),
    Project: (
        *("database_url", "listen_url", "jwt_secret", "jwt_public_key", "jwks_url", "jwt_algorithms"),
        *("jwt_audience", "jwt_issuer", "allowed_origins", "limits", "namespaces"),
    ),
}

Value = bool | int | float | str | None


class SettingInForce(Struct, frozen=True, kw_only=True):
    value: Value
    default: Value


Group = dict[str, SettingInForce]


class SettingsResponse(Struct, frozen=True, kw_only=True):
    """Groups of settings, each by its name."""

    limits: Annotated[Group, Meta(description="Of this project")]
    history: Annotated[Group, Meta(description="Of tables and of connections")]
    namespaces: Annotated[dict[str, Group], Meta(description="History of broadcast channels")]
    project: Annotated[Group, Meta(description="Others of this project")]
    fleet: Annotated[Group, Meta(description="Others of all projects")]


async def show(call: Call) -> SettingsResponse:
    """Tell the limits, the history and the timings in force, and their defaults."""
    return shown(call.tenant.settings, call.tenant.project)


def shown(settings: Settings, project: Project) -> SettingsResponse:
    """Return the settings of a project that anybody with `service_role` may see."""
    history = {
        name: SettingInForce(value=_first(getattr(project, name), one.value), default=one.default)
        for name, one in _group(settings, HISTORY).items()
    }
    return SettingsResponse(
        limits=_group(project.limits, Limits.__struct_fields__),
        history=history | _group(settings, CONNECTION_HISTORY),
        namespaces={
            name: _group(namespace, Namespace.__struct_fields__)
            for name, namespace in sorted(project.namespaces.items())
        },
        project=_group(project, PROJECT),
        fleet=_group(settings, FLEET),
    )


def _group(owner: Struct, names: tuple[str, ...]) -> Group:
    defaults = {field.name: field.default for field in msgspec.structs.fields(owner)}
    return {name: SettingInForce(value=getattr(owner, name), default=defaults[name]) for name in names}


def _first(of_project: Value, of_all: Value) -> Value:
    return of_all if of_project is None else of_project

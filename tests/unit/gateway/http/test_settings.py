"""Which settings are shown, and that no other one is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.http.settings import CONNECTION_HISTORY, FLEET, HIDDEN, HISTORY, PROJECT, shown
from realtime.settings.config import Limits, Namespace, Project, Settings

SECRET = "a secret of more than thirty-two bytes"
ADDRESS = "postgresql://user:password@db.internal/orders_of_all"


def settings(**more: Any) -> Settings:
    project = Project(database_url=ADDRESS, listen_url=ADDRESS, jwt_secret=SECRET, **more)
    return Settings(
        redis_url="redis://:hidden@redis.internal", heartbeat_seconds=10, projects={"demo": project}
    )


def test_each_setting_has_its_value_and_the_default_of_the_program():
    one = settings(
        limits=Limits(max_connections=5),
        history_seconds=60,
        namespaces={"chat": Namespace(history_entries=7)},
        doorbell="off",
    )
    plain = msgspec.to_builtins(shown(one, one.projects["demo"]))
    assert plain["limits"]["max_connections"] == {"value": 5, "default": 10_000}
    assert plain["limits"].keys() == set(Limits.__struct_fields__)
    assert plain["history"]["history_seconds"] == {"value": 60, "default": 3_600}
    assert plain["history"]["history_entries"] == {"value": 10_000, "default": 10_000}
    assert plain["namespaces"] == {
        "chat": {
            "history_entries": {"value": 7, "default": 100},
            "history_seconds": {"value": 300, "default": 300},
        }
    }
    assert plain["project"]["doorbell"] == {"value": "off", "default": "auto"}
    assert plain["fleet"]["heartbeat_seconds"] == {"value": 10, "default": 25}


@pytest.mark.parametrize(
    "hidden", [SECRET, "db.internal", "orders_of_all", "password", "redis.internal", "hidden"]
)
def test_no_secret_and_no_address_is_shown(hidden):
    one = settings()
    assert hidden not in str(msgspec.to_builtins(shown(one, one.projects["demo"])))


def test_every_setting_is_shown_or_hidden_on_purpose():
    assert {*HISTORY, *CONNECTION_HISTORY, *FLEET, *HIDDEN[Settings]} == set(Settings.__struct_fields__)
    assert {*HISTORY, *PROJECT, *HIDDEN[Project]} == set(Project.__struct_fields__)

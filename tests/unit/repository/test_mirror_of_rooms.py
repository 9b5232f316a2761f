"""`tests/unit` has the rooms of the code: a test for each module, or the reason why it has none.

A module without a test of its name stands in one table: what kind of module it is, and which test shows that
it works. A module of the rooms that are pure needs a unit test.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs_fixture import ROOT

PACKAGES = ("realtime", "gateway", "notifier")
TESTS = ROOT / "tests"
PURE = "Rules import no I/O, not even by others"  # the contract that names the pure rooms

IO = "talks to Redis, Postgres, clients or other processes: shown with real ones"
PART = "a part of what another unit test is about"
DATA = "types and tables, without a rule of its own"

WITHOUT_A_TWIN = {
    # The gateway
    "gateway.app": (IO, "integration/test_gateway_life.py"),
    "gateway.delivery.catching_up": (PART, "unit/gateway/delivery/test_topic_subscriptions.py"),
    "gateway.delivery.empty_topics": (IO, "integration/test_keys_of_clients.py"),
    "gateway.delivery.fanout": (IO, "integration/test_gateway_delivery.py"),
    "gateway.delivery.open_topic": (PART, "unit/gateway/delivery/test_topic_subscriptions.py"),
    "gateway.delivery.replays": (IO, "integration/test_recovery_storm.py"),
    "gateway.delivery.subscribe": (IO, "integration/test_gateway_redis.py"),
    "gateway.fleet.answering": (IO, "integration/test_fleet.py"),
    "gateway.fleet.fleet": (IO, "integration/test_fleet.py"),
    "gateway.fleet.timings": (DATA, "integration/test_fleet.py"),
    "gateway.http.fleet": (IO, "integration/test_fleet.py"),
    "gateway.http.fleet_bodies": (DATA, "integration/test_fleet.py"),
    "gateway.http.stats": (IO, "integration/test_fleet_figures.py"),
    "gateway.http.bodies": (IO, "integration/test_rest_edge.py"),
    "gateway.http.context": (DATA, "integration/test_rest_edge.py"),
    "gateway.http.gate": (IO, "integration/test_rates_of_requests.py"),
    "gateway.http.idle_connections": (IO, "integration/test_http_connections.py"),
    "gateway.http.middlewares": (IO, "integration/test_rest_edge.py"),
    "gateway.http.openapi": (IO, "acceptance/test_schemathesis.py"),
    "gateway.http.pages": (IO, "integration/test_dashboard_files.py"),
    "gateway.http.people": (IO, "integration/test_presence.py"),
    "gateway.http.protocol": (IO, "integration/test_http_bytes.py"),
    "gateway.http.refusals": (IO, "integration/test_rates_of_requests.py"),
    "gateway.http.request_ids": (IO, "integration/test_log_lines.py"),
    "gateway.http.request_metrics": (IO, "integration/test_metrics.py"),
    "gateway.http.routes": (DATA, "unit/repository/test_docs.py"),
    "gateway.http.server": (IO, "integration/test_http_connections.py"),
    "gateway.http.status": (IO, "integration/test_rest_edge.py"),
    "gateway.delivery.timings": (DATA, "integration/test_gateway_redis.py"),
    "gateway.http.timings": (DATA, "integration/test_http_connections.py"),
    "gateway.websocket.timings": (DATA, "integration/test_gateway_reload.py"),
    "gateway.http.tables": (IO, "integration/test_rest_tables.py"),
    "gateway.hub.replay_frames": (PART, "unit/gateway/hub/test_replay_cache.py"),
    "gateway.hub.topic": (PART, "unit/gateway/hub/test_hub_catching_up.py"),
    "gateway.memory.allocator": (PART, "unit/gateway/memory/test_budget.py"),
    "gateway.memory.answers": (PART, "unit/gateway/memory/test_guard.py"),
    "gateway.presence.connection_log": (IO, "integration/test_connection_history.py"),
    "gateway.presence.stores": (DATA, "unit/gateway/http/test_presence_lists.py"),
    "gateway.projects.jwks": (IO, "integration/test_jwks.py"),
    "gateway.presence.timings": (DATA, "integration/test_presence_in_doubt.py"),
    "gateway.timings": (DATA, "integration/test_gateway_life.py"),
    "notifier.timings": (DATA, "integration/test_dismissed_feed.py"),
    "gateway.publish.publisher": (IO, "integration/test_broadcast.py"),
    "gateway.session.timings": (DATA, "unit/gateway/session/test_flood_guard.py"),
    "gateway.session.effects": (DATA, "unit/gateway/session/test_session.py"),
    "gateway.websocket.drain": (IO, "acceptance/test_drain.py"),
    "gateway.websocket.gauges": (IO, "integration/test_metrics.py"),
    "gateway.websocket.publishing": (IO, "integration/test_broadcast.py"),
    "gateway.wire.commands": (DATA, "unit/gateway/wire/test_native.py"),
    "gateway.wire.events": (DATA, "unit/gateway/wire/test_native.py"),
    "gateway.wire.native_messages": (DATA, "unit/gateway/wire/test_native.py"),
    "gateway.wire.queue_writer": (PART, "unit/gateway/wire/test_send_queue.py"),
    # The notifier
    "notifier.app": (IO, "integration/test_notifier_survives.py"),
    "notifier.errors": (DATA, "integration/test_feed.py"),
    "notifier.feed.batch_reader": (IO, "integration/test_feed.py"),
    "notifier.feed.bounds": (DATA, "integration/test_feed.py"),
    "notifier.feed.doorbell": (IO, "integration/test_doorbell.py"),
    "notifier.feed.feed": (IO, "integration/test_feed.py"),
    "notifier.feed.feed_settings": (DATA, "integration/test_notifier_reload.py"),
    "notifier.feed.follower": (IO, "integration/test_doorbell.py"),
    "notifier.feed.publisher": (IO, "integration/test_going_back.py"),
    "notifier.feed.timings": (DATA, "integration/test_doorbell.py"),
    "notifier.leadership.leader": (IO, "integration/test_lead.py"),
    "notifier.leadership.timings": (DATA, "integration/test_election.py"),
    "notifier.maintenance": (IO, "integration/test_new_partitions.py"),
    "notifier.metrics": (DATA, "unit/repository/test_series.py"),
    "notifier.outbox_cleanup": (IO, "integration/test_outbox_hygiene.py"),
    "notifier.project": (IO, "integration/test_notifier.py"),
    "notifier.projects": (IO, "integration/test_notifier_reload.py"),
    "notifier.sessions": (IO, "integration/test_cut_off.py"),
    # What both share
    "realtime.causes.network": (PART, "unit/realtime/causes/test_sentence.py"),
    "realtime.causes.servers": (PART, "unit/realtime/causes/test_sentence.py"),
    "realtime.cli.dev": (IO, "acceptance/test_dev.py"),
    "realtime.cli.migrate": (IO, "acceptance/test_cli.py"),
    "realtime.cli.notifier": (IO, "acceptance/test_cli.py"),
    "realtime.cli.typescript": (IO, "integration/test_typescript.py"),
    "realtime.cli.options": (IO, "acceptance/test_dev.py"),
    "realtime.dev.activity": (IO, "integration/test_dev_activity.py"),
    "realtime.dev.directory": (IO, "integration/test_embedded_servers.py"),
    "realtime.dev.errors": (DATA, "integration/test_embedded_servers.py"),
    "realtime.dev.postgres": (IO, "integration/test_embedded_servers.py"),
    "realtime.dev.process": (IO, "integration/test_embedded_servers.py"),
    "realtime.dev.run": (IO, "acceptance/test_dev.py"),
    "realtime.dev.valkey": (IO, "integration/test_embedded_servers.py"),
    "realtime.postgres.backlog": (IO, "integration/test_outbox_hygiene.py"),
    "realtime.postgres.catalogue": (IO, "integration/test_catalogue.py"),
    "realtime.postgres.column_types": (IO, "integration/test_typescript.py"),
    "realtime.postgres.connector": (IO, "integration/test_database_addresses.py"),
    "realtime.postgres.migrations": (IO, "integration/test_migrations.py"),
    "realtime.postgres.pool": (IO, "integration/test_database_causes.py"),
    "realtime.postgres.session": (DATA, "integration/test_catalogue.py"),
    "realtime.postgres.tls": (IO, "integration/test_database_addresses.py"),
    "realtime.postgres.triggers": (IO, "integration/test_catalogue.py"),
    "realtime.process.child": (IO, "integration/test_processes.py"),
    "realtime.process.health": (IO, "acceptance/test_cli.py"),
    "realtime.process.http_protocol": (IO, "integration/test_http_connections.py"),
    "realtime.process.readiness": (IO, "integration/test_gateway_survives.py"),
    "realtime.process.settings_file": (IO, "acceptance/test_wrong_settings.py"),
    "realtime.process.supervisor": (IO, "integration/test_processes.py"),
    "realtime.redis.client": (IO, "integration/test_redis_servers.py"),
    "realtime.redis.cluster": (IO, "integration/test_cluster_commands.py"),
    "realtime.redis.failures": (IO, "integration/test_redis_causes.py"),
    "realtime.redis.history": (PART, "unit/realtime/settings/test_config.py"),
    "realtime.redis.pool": (IO, "integration/test_redis_pool.py"),
    "realtime.resources": (IO, "integration/test_migrations.py"),
    "realtime.settings.database_parameters": (PART, "unit/realtime/settings/test_database_url.py"),
}


def modules() -> Iterator[Path]:
    """Every module that says something, by its path below the root."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.stem not in ("__init__", "__main__"):
                yield path.relative_to(ROOT)


def name_of(module: Path) -> str:
    return ".".join(module.with_suffix("").parts)


def twin_of(module: Path) -> Path:
    return TESTS / "unit" / module.parent / f"test_{module.name}"


def pure_rooms() -> tuple[str, ...]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (rooms,) = [contract["source_modules"] for contract in contracts if contract["name"] == PURE]
    return tuple(rooms)


def is_pure(name: str) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in pure_rooms())


MODULES = {name_of(module): module for module in modules()}


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_a_test_of_its_name_or_a_reason(name: str) -> None:
    twin = twin_of(MODULES[name])
    assert twin.is_file() != (name in WITHOUT_A_TWIN), (
        f"{name}: either {twin.relative_to(ROOT)} or a line in WITHOUT_A_TWIN"
    )


@pytest.mark.parametrize("name", WITHOUT_A_TWIN)
def test_every_reason_is_of_a_module_and_names_a_test_that_exists(name: str) -> None:
    why, shown_by = WITHOUT_A_TWIN[name]
    assert name in MODULES, f"there is no module {name}"
    assert (TESTS / shown_by).is_file(), f"there is no {shown_by}"
    assert why is not IO or not shown_by.startswith("unit/"), f"{name}: a unit test talks to nobody"


@pytest.mark.parametrize("name", [name for name in WITHOUT_A_TWIN if is_pure(name)])
def test_what_is_pure_is_shown_by_a_unit_test(name: str) -> None:
    why, shown_by = WITHOUT_A_TWIN[name]
    assert why is not IO, f"{name} is pure, as pyproject.toml says"
    assert shown_by.startswith("unit/"), f"{name} needs no server to be shown"


def test_unit_tests_of_the_code_lie_in_its_rooms() -> None:
    folders = {path.parent for package in PACKAGES for path in (TESTS / "unit" / package).rglob("test_*.py")}
    assert folders
    strange = [folder for folder in folders if not (ROOT / folder.relative_to(TESTS / "unit")).is_dir()]
    assert not strange

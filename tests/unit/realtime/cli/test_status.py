"""What `realtime status` prints, and the status with which it ends."""

from __future__ import annotations

import json

import pytest

from realtime.cli.status import DEGRADED_STATUS
from tests.rest_stand_in import StandIn
from tests.unit.realtime.cli.conftest import Ran

OK = {
    "project_id": "demo",
    "status": "ok",
    "connections": 12,
    "tables": [
        {"schema": "public", "table_name": "orders", "events": ["INSERT", "DELETE"], "columns": None},
        {"schema": "audit", "table_name": "log\x1bins", "events": ["INSERT"], "columns": ["id"]},
    ],
    "nodes": [{"id": "n1", "connections": 12, "started_at": "2026-01-01T00:00:00Z"}],
    "notifier": {"status": "live", "pending": 3, "lag_seconds": 0.25},
}
STATS = {"nodes": [{"id": "n1", "version": "0.1.0", "draining": True}], "problems": []}
PROBLEM = {
    "code": "no_notifier",
    "severity": "error",
    "message": "No notifier leads the project.",
    "action": "Start one.",
    "docs": "docs/operations.md#look-first",
}


def told(service: StandIn, status: dict, stats: dict | None = None) -> None:
    service.on("GET /status", json.dumps(status))
    if stats is not None:
        service.on("GET /stats", json.dumps(stats))


def test_a_project_that_is_well_is_told_in_a_few_lines(service: StandIn, at: Ran) -> None:
    told(service, OK, STATS)
    result = at("status")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "demo is ok: 12 connections, notifier live, 3 pending, 0.2 s behind",
        "",
        "NODE  CONNECTIONS  STATE     VERSION  STARTED",
        "n1             12  draining  0.1.0    2026-01-01T00:00:00Z",
        "",
        "TABLE               EVENTS          COLUMNS",
        "public.orders       INSERT, DELETE  all",
        r"audit.log\u001bins  INSERT          id",
    ]


def test_what_is_wrong_comes_first_with_what_to_do(service: StandIn, at: Ran) -> None:
    told(service, OK | {"status": "degraded"}, STATS | {"problems": [PROBLEM]})
    result = at("status")
    assert result.exit_code == DEGRADED_STATUS
    assert result.stdout.splitlines()[1:4] == [
        "error no_notifier: No notifier leads the project.",
        "  Start one.",
        "  see docs/operations.md#look-first",
    ]


@pytest.mark.parametrize(
    ("status", "problems", "exit_code"),
    [
        ("ok", [], 0),
        ("ok", [PROBLEM | {"severity": "warning"}], 0),
        ("ok", [PROBLEM], DEGRADED_STATUS),
        ("degraded", [], DEGRADED_STATUS),
        ("something new", [], DEGRADED_STATUS),
    ],
)
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_the_exit_status_tells_how_it_is(
    service: StandIn, at: Ran, status: str, problems: list, exit_code: int, more: tuple
) -> None:
    told(service, OK | {"status": status}, STATS | {"problems": problems})
    assert at("status", *more).exit_code == exit_code


def test_json_is_the_answer_with_the_problems(service: StandIn, at: Ran) -> None:
    service.on(
        "GET /status", '{"project_id":"demo","status":"ok","connections":0,"x":0.10000000000000000001}'
    )
    told_stats = json.dumps(STATS | {"problems": [PROBLEM]})
    service.on("GET /stats", told_stats)
    line = at("status", "--json").stdout
    assert '"x":0.10000000000000000001' in line
    assert json.loads(line)["problems"] == [PROBLEM]


def test_an_ordinary_token_gets_what_it_may_see(service: StandIn, at: Ran) -> None:
    told(service, {"project_id": "demo", "status": "ok", "connections": 1})
    service.refuse("GET /stats", 403, "forbidden", "service_role only")
    assert at("status").stdout == "demo is ok: 1 connection\n"
    assert json.loads(at("status", "--json").stdout)["problems"] is None


def test_a_database_that_is_away_leaves_numbers_unknown(service: StandIn, at: Ran) -> None:
    told(service, OK | {"notifier": {"status": "down", "pending": None, "lag_seconds": None}}, STATS)
    assert at("status").stdout.splitlines()[0] == "demo is ok: 12 connections, notifier down"

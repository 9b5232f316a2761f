"""What `realtime tables`, `enable` and `disable` send and print."""

from __future__ import annotations

import json

import pytest

from tests.rest_stand_in import StandIn
from tests.unit.realtime.cli.conftest import Ran

ENABLED = '{"schema":"public","table_name":"orders","events":["INSERT"],"columns":null,"enabled":true}'
DISABLED = '{"schema":"public","table_name":"orders","enabled":false}'


def test_tables_are_listed_with_what_is_on(service: StandIn, at: Ran) -> None:
    columns = [{"name": "id", "type": "bigint"}, {"name": "na\nme", "type": "text"}]
    entries = [
        {"table_name": "orders", "enabled": True, "events": ["INSERT", "UPDATE"], "primary_key": ["id"]},
        {"table_name": "log", "enabled": False, "events": [], "primary_key": []},
    ]
    tables = [{"schema": "public", "columns": columns} | entry for entry in entries]
    service.on("GET /tables", json.dumps({"tables": tables}))
    assert at("tables").stdout.splitlines() == [
        "TABLE          STATE  EVENTS          PRIMARY KEY  COLUMNS",
        r"public.orders  on     INSERT, UPDATE  id           id bigint, na\u000ame text",
        r"public.log     off    -               -            id bigint, na\u000ame text",
    ]


def test_a_project_without_a_table_is_told(service: StandIn, at: Ran) -> None:
    service.on("GET /tables", '{"tables":[]}')
    assert at("tables").stdout == "the project may use no table\n"


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ((), {}),
        (("--schema", "audit"), {"schema": "audit"}),
        (("--events", "insert, UPDATE"), {"events": ["INSERT", "UPDATE"]}),
        (("--columns", 'id,"a,b", c'), {"columns": ["id", "a,b", "c"]}),
        (("--columns", '"say ""hi"""'), {"columns": ['say "hi"']}),
    ],
)
def test_enable_sends_what_is_asked_for(service: StandIn, at: Ran, options: tuple, body: dict) -> None:
    service.on("POST /enable", ENABLED)
    result = at("enable", "orders", *options)
    assert result.stdout == "realtime is on for public.orders: INSERT; all columns\n"
    assert json.loads(service.asked[0].body) == {"table_name": "orders"} | body
    assert service.asked[0].headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("columns", ['"open', "a\nb", ""])
def test_a_list_that_is_none_is_refused_before_anything_is_sent(
    service: StandIn, at: Ran, columns: str
) -> None:
    result = at("enable", "orders", "--columns", columns)
    assert result.exit_code == 2
    assert "expected names with commas in between" in result.stderr
    assert service.asked == []


def test_disable_says_what_is_off(service: StandIn, at: Ran) -> None:
    service.on("POST /disable", DISABLED)
    assert at("disable", "audit.orders").stdout == "realtime is off for public.orders\n"
    assert json.loads(service.asked[0].body) == {"table_name": "audit.orders"}
    assert at("disable", "orders", "--json").stdout == DISABLED + "\n"


@pytest.mark.parametrize("command", ["enable", "disable"])
def test_a_dry_run_prints_the_sql_and_asks_for_nothing_else(service: StandIn, at: Ran, command: str) -> None:
    service.on(f"POST /{command}/preview", json.dumps({"sql": "begin;\n\tselect 1;\ncommit;\n"}))
    assert at(command, "orders", "--dry-run").stdout == "begin;\n\tselect 1;\ncommit;\n"
    assert [one.path.rpartition("realtime/")[2] for one in service.asked] == [f"{command}/preview"]

"""What `realtime send` and `presence` send and print."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from realtime.cli.main import main
from tests.rest_stand_in import StandIn
from tests.unit.realtime.cli.conftest import Ran

EXACT = '{"n":0.1000000000000000000001,"large":12345678901234567890123}'


def test_a_payload_is_sent_digit_for_digit(service: StandIn, at: Ran) -> None:
    service.on("POST /broadcast", '{"accepted":1}')
    assert at("send", "room:lobby", EXACT).stdout == "sent to room:lobby\n"
    assert service.asked[0].body == f'{{"channel":"room:lobby","payload":{EXACT}}}'
    assert at("send", "room:lobby", "null", "--json").stdout == '{"accepted":1}\n'
    assert json.loads(service.asked[1].body)["payload"] is None


@pytest.mark.usefixtures("ran")
def test_a_payload_may_come_from_standard_input(service: StandIn) -> None:
    service.on("POST /broadcast", '{"accepted":1}')
    words = ["send", "room:lobby", "-", "--url", service.url, "--token", "jwt"]
    assert CliRunner().invoke(main, words, input=f"{EXACT}\n").exit_code == 0
    assert service.asked[0].body.endswith(f"{EXACT}}}")


@pytest.mark.parametrize("payload", ["", "{", "nothing", "1 2", '"\udcff"'])
def test_what_is_no_json_is_not_sent(service: StandIn, at: Ran, payload: str) -> None:
    result = at("send", "room:lobby", payload)
    assert result.exit_code == 2
    assert "this is no JSON" in result.stderr
    assert service.asked == []


def test_who_is_present_is_a_table(service: StandIn, at: Ran) -> None:
    entry = {
        "connection_id": "c1",
        "user_id": "alice",
        "state": {"status": "on\x1b[2Jline"},
        "joined_at": "2026-01-31T12:00:00.123456Z",
        "updated_at": "2026-01-31T12:00:00.123456Z",
    }
    service.on("GET /presence", json.dumps({"count": 1, "presences": [entry]}))
    head, row = at("presence", "room:lobby").stdout.splitlines()
    assert head.split() == ["USER", "STATE", "SINCE", "CONNECTION"]
    assert row.split("  ")[0] == "alice"
    assert "2026-01-31 12:00:00" in row
    assert row.isprintable()
    assert service.asked[0].query == {"channel": "room:lobby"}


def test_nobody_is_told(service: StandIn, at: Ran) -> None:
    service.on("GET /presence", '{"count":0,"presences":[]}')
    assert at("presence").stdout == "nobody is present\n"
    assert service.asked[0].query == {}

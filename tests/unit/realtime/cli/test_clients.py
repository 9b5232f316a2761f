"""What `realtime clients` reads page by page, and what `disconnect` sends and says."""

from __future__ import annotations

import json

import pytest

from realtime.cli.clients import PAGE
from tests.rest_stand_in import StandIn
from tests.unit.realtime.cli.conftest import Ran


def client(number: int, **more: object) -> dict:
    return {
        "connection_id": f"c{number}",
        "user_id": "alice",
        "role": "authenticated",
        "ip": "10.0.0.1",
        "user_agent": "Mozilla\x1b[2J",
        "node": "n1",
        "connected_at": "2026-01-31T12:00:00.123456Z",
        "expires_at": None,
        "subscriptions": ["table:users", "room:a"],
        "queue_bytes": 0,
        "messages_in": 3,
        "messages_out": 40,
    } | more


def page(*clients: dict, following: str | None = None, missing: tuple[str, ...] = ()) -> str:
    return json.dumps({"clients": clients, "next": following, "missing": missing})


def test_clients_are_a_table(service: StandIn, at: Ran) -> None:
    service.on("GET /clients", page(client(1), client(2, user_id=None)))
    first, *rows = at("clients").stdout.splitlines()
    assert first.split() == [
        *("CONNECTION", "USER", "CONNECTED", "ADDRESS", "CHANNELS", "NODE", "ROLE"),
        *("QUEUED", "IN", "OUT", "PROGRAM"),
    ]
    assert [row.split()[:2] for row in rows] == [["c1", "alice"], ["c2", "-"]]
    assert "2026-01-31 12:00:00" in rows[0]
    assert r"Mozilla\u001b[2J" in rows[0]


def test_all_pages_are_read(service: StandIn, at: Ran) -> None:
    service.on(
        "GET /clients", page(client(1), following="a"), page(client(2), following="b"), page(client(3))
    )
    told = json.loads(at("clients", "--json", "--user", "alice", "--node", "n1").stdout)
    assert [one["connection_id"] for one in told["clients"]] == ["c1", "c2", "c3"]
    assert told["next"] is None
    assert [one.query.get("after") for one in service.asked] == [None, "a", "b"]
    assert all(one.query["user_id"] == "alice" and one.query["node"] == "n1" for one in service.asked)
    assert all(one.query["limit"] == str(PAGE) for one in service.asked)


def test_a_limit_ends_it_and_says_that_there_are_more(service: StandIn, at: Ran) -> None:
    service.on("GET /clients", page(client(1), client(2), following="a"), page(client(3), following="b"))
    assert at("clients", "--limit", 3).stdout.splitlines()[-1] == "these are the first 3; there are more"
    assert [one.query["limit"] for one in service.asked] == ["3", "1"]


def test_a_service_that_gives_one_page_for_ever_is_left(service: StandIn, at: Ran) -> None:
    service.on("GET /clients", page(client(1), following="a"))
    assert "same page" in at("clients").stderr


def test_nodes_that_did_not_answer_are_named(service: StandIn, at: Ran) -> None:
    pages = page(client(1), following="a", missing=("n2",)), page(missing=("n2", "n3"))
    service.on("GET /clients", *pages)
    last = at("clients").stdout.splitlines()[-1]
    assert last == "no answer in time from n2, n3: its clients are not counted"
    service.on("GET /clients", *pages)
    assert json.loads(at("clients", "--json").stdout)["missing"] == ["n2", "n3"]
    service.on("POST /disconnect", '{"disconnected":1,"missing":["n2"]}')
    lines = at("disconnect", "--user", "alice").stdout.splitlines()
    assert lines == ["disconnected 1 connection", "no answer in time from n2: its clients are not counted"]


def test_channels_that_are_not_listed_are_counted(service: StandIn, at: Ran) -> None:
    service.on("GET /clients", page(client(1, subscription_count=250)))
    assert at("clients").stdout.splitlines()[1].split()[5] == "250"


def test_no_client_is_told(service: StandIn, at: Ran) -> None:
    service.on("GET /clients", page())
    assert at("clients").stdout == "no client is connected\n"


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (("--user", "alice"), {"user_id": "alice"}),
        (("--connection", "c1"), {"connection_id": "c1"}),
        (("--user", "alice", "--reconnect"), {"user_id": "alice", "reconnect": True}),
    ],
)
@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 connections"), (1, "1 connection"), (12, "12 connections")]
)
def test_disconnect_says_how_many(
    service: StandIn, at: Ran, words: tuple, body: dict, count: int, told: str
) -> None:
    service.on("POST /disconnect", json.dumps({"disconnected": count}))
    assert at("disconnect", *words).stdout == f"disconnected {told}\n"
    assert json.loads(service.asked[0].body) == body


@pytest.mark.parametrize("words", [(), ("--user", "a", "--connection", "b")])
def test_disconnect_needs_one_of_two(service: StandIn, at: Ran, words: tuple) -> None:
    assert at("disconnect", *words).exit_code == 2
    assert service.asked == []

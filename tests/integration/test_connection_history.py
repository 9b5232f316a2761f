"""The connection history and the status over two nodes: who came, who went, and how."""

from __future__ import annotations

import re
from typing import Any

from msgspec import structs

from tests.fleet_fixture import SERVICE, end_of, history
from tests.gateway_fixture import eventually, running_gateway, running_notifier, settings_for, token_for

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def id_of(client) -> str:
    return client.connected["connection_id"]


async def node_ids(gateway) -> set[str]:
    return {node["id"] for node in (await status(gateway))["nodes"]}


async def status(gateway, token: str = SERVICE) -> dict:
    code, answer, _ = await gateway.rest("GET", "/status", token)
    assert code == 200
    return answer


async def test_a_connect_and_a_disconnect_have_every_field_of_the_contract(here, there):
    async with here.client(headers={"User-Agent": "kitchen clock"}) as client:
        pass
    end = await end_of(there, id_of(client))
    (begin,) = (await history(there, event="connect"))["connections"]
    assert list(begin) == list(end)
    assert RFC3339.fullmatch(begin.pop("timestamp"))
    assert RFC3339.fullmatch(end.pop("timestamp"))
    assert begin.pop("id") != end.pop("id")
    assert begin["node"] in await node_ids(there)
    assert 0 <= end.pop("duration_seconds") < 60
    common = {
        "connection_id": id_of(client),
        "user_id": "alice",
        "ip": "127.0.0.1",
        "user_agent": "kitchen clock",
        "node": begin["node"],
    }
    nothing = {"code": None, "reason": None, "duration_seconds": None}
    assert begin == {"event": "connect", **common, **nothing}
    assert end == {"event": "disconnect", **common, "code": 1000, "reason": None}


async def test_the_code_with_which_a_client_closes_is_recorded(here):
    async with here.client() as client:
        await client.web_socket.close(code=4000)
    end = await end_of(here, id_of(client))
    assert (end["code"], end["reason"]) == (4000, None)


async def test_a_client_that_vanished_has_the_code_1006(here, there):
    async with here.client() as client:
        client.web_socket._writer.transport.abort()
    end = await end_of(there, id_of(client))
    assert (end["code"], end["reason"]) == (1006, None)


async def test_a_token_that_ran_out_is_the_reason(here, there):
    async with here.client(token_for(ttl=1)) as client:
        assert await client.is_refused() == ("token_expired", 4401)
    end = await end_of(there, id_of(client))
    assert (end["code"], end["reason"]) == (4401, "token_expired")
    assert end["duration_seconds"] > 0


async def test_a_binary_frame_ends_with_1003(here):
    async with here.client() as client:
        await client.web_socket.send_bytes(b"x")
        assert await client.hear_close() == 1003
    assert (await end_of(here, id_of(client)))["code"] == 1003


async def test_who_was_refused_is_not_in_the_history(here):
    async with here.socket(token="nonsense") as client:
        assert await client.is_refused() == ("unauthorized", 4401)
    assert (await history(here))["connections"] == []


async def test_pages_lead_to_the_oldest_event_and_miss_none(here, there):
    for number in range(6):
        gateway = (here, there)[number % 2]
        async with gateway.client(token_for(sub=f"user{number % 3}")) as client:
            pass
        await end_of(here, id_of(client))
    whole = await history(here)
    assert (len(whole["connections"]), whole["next"]) == (12, None)
    users = [event["user_id"] for event in whole["connections"]]
    assert users == [f"user{number % 3}" for number in reversed(range(6)) for _ in range(2)]
    assert [event["event"] for event in whole["connections"]] == ["disconnect", "connect"] * 6
    for limit in (1, 5, 6, 12):
        assert await _paged(there, limit=limit) == whole["connections"]
    disconnects = [event for event in whole["connections"] if event["event"] == "disconnect"]
    assert await _paged(there, limit=2, event="disconnect") == disconnects
    of_one = [event for event in whole["connections"] if event["user_id"] == "user1"]
    assert await _paged(there, limit=3, user_id="user1") == of_one
    assert await _paged(there, user_id="user1", event="connect") == of_one[1::2]
    assert await _paged(there, user_id="nobody") == []


async def _paged(gateway, **params) -> list[dict]:
    found: list[Any] = []
    cursor: dict[str, Any] = {}
    while True:
        page = await history(gateway, **params, **cursor)
        assert len(page["connections"]) <= params.get("limit", 50)
        found += page["connections"]
        if page["next"] is None:
            return found
        cursor = {"before": page["next"]}


async def test_fifty_events_are_a_page_unless_asked_otherwise(here):
    for _ in range(26):
        async with here.client():
            pass

    async def all_recorded() -> bool:
        return len((await history(here, limit=1000))["connections"]) == 52

    await eventually(all_recorded)
    page = await history(here)
    assert (len(page["connections"]), page["next"]) == (50, page["connections"][-1]["id"])


WRONG = [
    *[("limit", value) for value in ("0", "1001", "-1", "x", "", "1.5", "٣")],
    *[("before", value) for value in ("x", "", "1", "1-2-3", "+", "(1-1", "9" * 30 + "-1", "\u0661-\u0661")],
    *[("event", value) for value in ("x", "", "CONNECT")],
]


async def test_a_wrong_parameter_is_named(gateway):
    for field, value in WRONG:
        code, answer, _ = await gateway.rest("GET", "/connections", SERVICE, params={field: value})
        assert (code, answer["error"]["code"]) == (400, "invalid_request"), (field, value)
        assert answer["error"]["message"].startswith(field)


async def test_nothing_is_older_than_the_beginning(here):
    async with here.client() as client:
        pass
    await end_of(here, id_of(client))
    for cursor in ("0-0", "000-00", "0-1", "1-0"):
        assert await history(here, before=cursor) == {"connections": [], "next": None}, cursor


async def test_a_history_has_its_length(database_url, redis_url):
    settings = settings_for(database_url, redis_url, connection_history_entries=4)
    async with running_gateway(settings) as gateway:
        for number in range(4):
            async with gateway.client(token_for(sub=f"user{number}")) as client:
                pass
            await end_of(gateway, id_of(client))
        events = (await history(gateway))["connections"]
        assert [event["user_id"] for event in events] == ["user3", "user3", "user2", "user2"]


async def test_an_ordinary_token_may_not_read_the_history(here):
    code, answer, _ = await here.rest("GET", "/connections", token_for())
    assert (code, answer["error"]["code"]) == (403, "forbidden")


async def _counts(gateway, expected: list[int]) -> bool:
    answer = await status(gateway)
    counts = [node["connections"] for node in answer["nodes"]]
    assert sum(counts) == answer["connections"]
    return sorted(counts) == expected


async def test_status_counts_the_connections_of_all_nodes(here, there):
    await eventually(lambda: _counts(here, [0, 0]))
    async with here.client(), there.client(), there.client():
        for gateway in (here, there):
            await eventually(lambda gateway=gateway: _counts(gateway, [1, 2]))
        nodes = (await status(here))["nodes"]
        assert len({node["id"] for node in nodes}) == 2
        assert all(RFC3339.fullmatch(node["started_at"]) for node in nodes)
        ordinary = await status(there, token_for())
        assert ordinary == {"project_id": "demo", "status": "degraded", "connections": 3}
    await eventually(lambda: _counts(there, [0, 0]))


async def test_status_tells_of_the_notifier_and_its_tables_on_every_node(here, there, settings, sql):
    demo_alone = structs.replace(settings, projects={"demo": settings.projects["demo"]})
    async with running_notifier(demo_alone):
        await here.enable("orders", events=["INSERT"])
        for gateway in (here, there):

            async def live(gateway=gateway) -> bool:
                return (await status(gateway))["status"] == "ok"

            await eventually(live)
            answer = await status(gateway)
            assert answer["notifier"]["status"] == "live"
            assert answer["notifier"]["pending"] == 0
            assert answer["notifier"]["lag_seconds"] == 0
            assert answer["tables"] == [
                {"schema": "public", "table_name": "orders", "events": ["INSERT"], "columns": None}
            ]


async def test_of_a_long_user_id_the_beginning_is_kept_and_found(here):
    long_id = "x" * 4_000
    async with here.client(token_for(sub=long_id)) as client:
        pass
    assert (await end_of(here, id_of(client)))["user_id"] == "x" * 256
    found = (await history(here, user_id=long_id))["connections"]
    assert [event["event"] for event in found] == ["disconnect", "connect"]

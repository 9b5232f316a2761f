"""REST over all nodes: who is connected, which channels there are, disconnecting. Two gateways, one Redis.

Long by the questions that one node asks the others.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway.fleet.messages import AskClients, AskDisconnect, Asked, AskStats, written
from gateway.websocket import disconnecting
from realtime import names
from realtime.errors import CLOSE_CODE, CLOSE_SERVICE_RESTART, Code
from tests.fleet_fixture import SERVICE, end_of
from tests.gateway_fixture import Client, Gateway, eventually, token_for

GONE = (Code.DISCONNECTED, CLOSE_CODE[Code.DISCONNECTED])


async def asked(gateway: Gateway, path: str, project: str = "demo", **params: Any) -> Any:
    """What a GET by the service answers."""
    token = token_for(project, sub=None, role="service_role")
    status, answer, _ = await gateway.rest("GET", path, token, project=project, params=params)
    assert status == 200, answer
    return answer


async def disconnect(gateway: Gateway, project: str = "demo", **body: Any) -> int:
    token = token_for(project, sub=None, role="service_role")
    status, answer, _ = await gateway.rest("POST", "/disconnect", token, project=project, json=body)
    assert (status, answer["missing"]) == (202, []), answer
    number: int = answer["disconnected"]
    return number


async def all_clients(gateway: Gateway, **params: Any) -> list[dict[str, Any]]:
    """All pages together."""
    found: list[dict[str, Any]] = []
    more: dict[str, Any] = {}
    while True:
        page = await asked(gateway, "/clients", **params, **more)
        assert page["missing"] == []
        found += page["clients"]
        if page["next"] is None:
            return found
        more = {"after": page["next"]}


async def last_words(client: Client) -> tuple[str, int]:
    """The code of the error, and that of the close frame after it."""
    error, frame = await client.hear(), await client.web_socket.receive(10)
    assert error["type"] == "error", error
    return error["code"], frame.data


def order(client: dict[str, Any]) -> tuple[str, str]:
    return client["node"], client["connection_id"]


async def crowd(stack: AsyncExitStack, *gateways: Gateway, number: int, sub: str = "alice") -> list[Client]:
    token = token_for(sub=sub)
    coming = [stack.enter_async_context(gateway.client(token)) for gateway in gateways for _ in range(number)]
    return [await one for one in coming]


# Clients


async def test_whoever_is_connected_to_any_node_is_told_by_each_of_them(here, there):
    async with here.client(token_for(sub="alice")) as alice, there.client(token_for(sub="bob")) as bob:
        await alice.subscribe("room:a")
        await bob.subscribe("table:users")
        await bob.subscribe("presence")
        assert (await bob.hear())["event"] == "sync"
        found = await all_clients(here)
        assert found == await all_clients(there)
        assert found == sorted(found, key=order)
        of_bob = next(one for one in found if one["user_id"] == "bob")
        assert of_bob["connection_id"] == bob.connected["connection_id"]
        assert of_bob["expires_at"] == bob.connected["expires_at"]
        assert (of_bob["role"], of_bob["ip"]) == ("authenticated", "127.0.0.1")
        assert (of_bob["subscriptions"], of_bob["subscription_count"]) == (["table:users", "presence"], 2)
        assert (of_bob["messages_in"], of_bob["messages_out"], of_bob["queue_bytes"]) == (2, 4, 0)
        assert {one["user_id"] for one in found} == {"alice", "bob"}
        assert len({one["node"] for one in found}) == 2
    await eventually(lambda: is_empty(here))


async def is_empty(gateway: Gateway) -> bool:
    return not (await asked(gateway, "/clients"))["clients"]


async def test_all_pages_have_everybody_once_in_order(here, there):
    async with AsyncExitStack() as stack:
        await crowd(stack, here, there, number=5)
        found = await all_clients(here, limit=3)
        assert len(found) == 10
        assert [order(one) for one in found] == sorted({order(one) for one in found})


async def test_clients_are_selected_by_user_and_by_node(here, there):
    async with AsyncExitStack() as stack:
        await crowd(stack, here, there, number=2, sub="alice")
        await crowd(stack, there, number=1, sub="bob")
        everybody = await all_clients(here)
        of_alice = await all_clients(here, user_id="alice", limit=1)
        assert of_alice == [one for one in everybody if one["user_id"] == "alice"]
        assert await all_clients(there, user_id="nobody") == []
        node = everybody[0]["node"]
        assert await all_clients(there, node=node) == [one for one in everybody if one["node"] == node]
        assert await all_clients(here, node="unheard of") == []


async def test_a_message_counts_for_everyone_who_got_it(here, there):
    async with here.client() as alice, there.client(token_for(sub="bob")) as bob:
        for client in (alice, bob):
            await client.subscribe("room:a")
        for number in range(3):
            await alice.say(type="broadcast", channel="room:a", payload=number)
            assert (await bob.hear())["payload"] == number
            assert (await alice.hear())["payload"] == number
        await alice.say(type="broadcast", channel="room:a", payload=3, self=False)
        assert (await bob.hear())["payload"] == 3
        await bob.ask(type="unsubscribe", channel="room:a")
        found = {one["user_id"]: one for one in await all_clients(here)}
        # Welcome, `subscribed`, the broadcasts; for bob `unsubscribed` too.
        assert (found["alice"]["messages_in"], found["alice"]["messages_out"]) == (5, 5)
        assert (found["bob"]["messages_in"], found["bob"]["messages_out"]) == (2, 7)


async def test_of_many_channels_of_one_client_some_are_named_and_all_are_counted(here):
    async with here.client() as client:
        for number in range(60):
            await client.subscribe(f"room:{number}-" + "x" * 200)
        (found,) = await all_clients(here)
        assert found["subscription_count"] == 60
        assert 30 < len(found["subscriptions"]) < 60


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        ("/clients", {"after": "no cursor"}, "after"),
        ("/clients", {"after": ""}, "after"),
        ("/clients", {"limit": "0"}, "limit"),
        ("/clients", {"limit": "1001"}, "limit"),
        ("/clients", {"limit": "many"}, "limit"),
        ("/channels", {"limit": "1001"}, "limit"),
    ],
)
async def test_a_wrong_page_is_refused_by_its_field(here, path, params, field):
    status, answer, _ = await here.rest("GET", path, SERVICE, params=params)
    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert answer["error"]["message"].startswith(f"{field}: ")


# Channels


async def test_channels_are_told_with_the_clients_of_all_nodes(here, there):
    async with here.client() as alice, there.client(token_for(sub="bob")) as bob:
        for channel in ("room:a", "table:users", "table:public.users", "table:users:INSERT"):
            await alice.subscribe(channel)
        for channel in ("room:a", "room:b", "table:public.users"):
            await bob.subscribe(channel)
        everything = [
            {"channel": "room:a", "subscribers": 2},
            {"channel": "room:b", "subscribers": 1},
            {"channel": "table:users", "subscribers": 2},
            {"channel": "table:users:INSERT", "subscribers": 1},
        ]
        answer = await asked(here, "/channels")
        assert answer == {"channels": everything, "next": None, "missing": []}
        first = await asked(there, "/channels", limit=3)
        assert (first["channels"], first["next"]) == (everything[:3], "table:users")
        second = await asked(there, "/channels", limit=3, after=first["next"])
        assert (second["channels"], second["next"]) == (everything[3:], None)
        assert (await asked(here, "/channels", prefix="room:"))["channels"] == everything[:2]


# Disconnecting


async def test_a_connection_is_closed_whichever_node_has_it(here, there):
    async with here.client() as alice, there.client(token_for(sub="bob")) as bob:
        connection_id = bob.connected["connection_id"]
        assert await disconnect(here, connection_id=connection_id) == 1
        assert await last_words(bob) == GONE
        end = await end_of(here, connection_id)
        assert (end["code"], end["reason"]) == (4410, "disconnected")
        assert await disconnect(here, connection_id=connection_id) == 0
        assert (await alice.ask(type="ping"))["type"] == "pong"


async def test_all_connections_of_a_user_are_closed_on_all_nodes_and_no_others(here, there):
    async with AsyncExitStack() as stack:
        of_bob = await crowd(stack, here, there, number=3, sub="bob")
        others = await crowd(stack, here, there, number=1, sub="bobby")
        assert await disconnect(here, user_id="bob") == 6
        for client in of_bob:
            assert await last_words(client) == GONE
        for client in others:
            assert (await client.ask(type="ping"))["type"] == "pong"


async def test_who_should_come_back_is_told_when(here, there):
    async with there.client() as alice:
        assert await disconnect(here, user_id="alice", reconnect=True) == 1
        message, frame = await alice.hear(), await alice.web_socket.receive(10)
        assert (message["type"], message["reason"]) == ("reconnect", "disconnected")
        assert 0 <= message["after_ms"] < 1_000
        assert frame.data == CLOSE_SERVICE_RESTART


async def test_many_are_closed_in_lots(here, monkeypatch):
    monkeypatch.setattr(disconnecting, "CLOSES_AT_ONCE", 3)
    async with AsyncExitStack() as stack:
        clients = await crowd(stack, here, number=10)
        assert await disconnect(here, user_id="alice") == 10
        assert [await last_words(client) for client in clients] == [GONE] * 10


@pytest.mark.parametrize(
    "body",
    [{}, {"reconnect": True}, {"connection_id": "a", "user_id": "b"}, {"user_id": None}, {"user_id": 1}],
)
async def test_exactly_one_connection_or_user_must_be_named(here, body):
    async with here.client() as client:
        status, answer, _ = await here.rest("POST", "/disconnect", SERVICE, json=body)
        assert (status, answer["error"]["code"]) == (400, "invalid_request")
        assert (await client.ask(type="ping"))["type"] == "pong"


# Between projects, and from strangers


async def test_two_projects_see_and_close_nothing_of_each_other(here, there):
    async with here.client() as alice, there.client() as bob:
        await alice.subscribe("room:secret")
        for gateway in (here, there):
            assert await all_clients(gateway, project="other") == []
            assert (await asked(gateway, "/channels", project="other"))["channels"] == []
            nodes = (await asked(gateway, "/stats", project="other"))["nodes"]
            assert [(one["connections"], one["messages_in"], one["channels"]) for one in nodes] == [
                (0, 0, 0)
            ] * 2
            assert await disconnect(gateway, project="other", user_id="alice") == 0
            connection_id = bob.connected["connection_id"]
            assert await disconnect(gateway, project="other", connection_id=connection_id) == 0
        for client in (alice, bob):
            assert (await client.ask(type="ping"))["type"] == "pong"


async def nodes_of(gateway: Gateway) -> list[str]:
    return [one["id"] for one in (await asked(gateway, "/stats"))["nodes"]]


GARBAGE = [
    b"",
    b"\xff\xfe",
    b"null",
    b"[" * 50_000,
    b'{"type":"asked"}',
    b'{"type":"answered","id":"00","node":"00","answer":{"type":"count","number":1}}',
    written(Asked(id="00", node="00", project="no such project", question=AskStats())),
    written(Asked(id="00", node="00", project="demo", question=AskDisconnect())),
    written(Asked(id="00", node="00", project="", question=AskClients(after="\0", limit=1, max_bytes=0))),
    b"x" * 3_000_000,
]


async def test_whatever_somebody_writes_into_an_inbox_harms_nobody(here, there, store):
    async with here.client() as alice, there.client(token_for(sub="bob")):
        for node in await nodes_of(here):
            for garbage in GARBAGE * 20:
                await store.call("SPUBLISH", names.node_inbox(node), garbage)
        for gateway in (here, there):
            assert [one["user_id"] for one in await all_clients(gateway)].count("alice") == 1
            assert len(await all_clients(gateway)) == 2
        assert (await alice.ask(type="ping"))["type"] == "pong"


async def test_a_node_that_never_was_costs_no_wait_and_is_told_as_missing(here, store):
    report = b'{"id":"0123456789ab","started_at":"2026-01-01T00:00:00.000000Z","connections":{"demo":3}}'
    await store.call("SADD", names.nodes(), "0123456789ab-0", "evil-0")
    await store.call("SET", names.node("0123456789ab-0"), report)
    await store.call("SET", names.node("evil-0"), b'{"id":"} evil","started_at":"","connections":{}}')
    async with here.client() as alice:
        began = asyncio.get_running_loop().time()
        page = await asked(here, "/clients")
        assert asyncio.get_running_loop().time() - began < 10, "a deadline, not a measurement"
        assert [one["user_id"] for one in page["clients"]] == ["alice"]
        assert page["missing"] == ["0123456789ab"]
        assert (await asked(here, "/channels"))["missing"] == ["0123456789ab"]
        status, answer, _ = await here.rest("POST", "/disconnect", SERVICE, json={"user_id": "alice"})
        assert (status, answer) == (202, {"disconnected": 1, "missing": ["0123456789ab"]})
        assert await last_words(alice) == GONE


async def test_clients_of_a_user_are_told_though_a_node_that_listens_never_answers(here, there, store):
    report = b'{"id":"0123456789ab","started_at":"2026-01-01T00:00:00.000000Z","connections":{"demo":3}}'
    inbox = names.node_inbox("0123456789ab")
    async with store.servers.of(inbox).client.pubsub() as silent, here.client(), there.client():
        await silent.ssubscribe(inbox)
        await store.call("SADD", names.nodes(), "0123456789ab-0")
        await store.call("SET", names.node("0123456789ab-0"), report)
        page = await asked(here, "/clients", user_id="alice")
        assert [one["user_id"] for one in page["clients"]] == ["alice", "alice"]
        assert page["missing"] == ["0123456789ab"]

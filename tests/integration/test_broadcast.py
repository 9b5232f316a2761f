"""Broadcasts between clients of two nodes: who hears what, in which order, and how it looks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from realtime.settings.config import Namespace, Project, Settings
from tests.fleet_fixture import SERVICE, hear_text, send_broadcasts
from tests.gateway_fixture import SECRET, Client, running_gateway, token_for

BAD_CHANNELS = ["", "room", "room:", ":a", " room:a", "room:a\n", "x" * 256]
FORBIDDEN = ["table:orders", "table:orders:INSERT", "presence", "presence:room:a"]


async def expect_silence(client: Client) -> None:
    """Nothing was sent to the client before now."""
    assert (await client.ask(type="ping"))["type"] == "pong"


async def hear_payloads(client: Client, count: int) -> list[object]:
    return [(await client.hear())["payload"] for _ in range(count)]


async def test_a_broadcast_reaches_the_subscribers_on_every_node(here, there):
    async with here.client() as alice, there.client(token_for(sub="bob")) as bob:
        await alice.subscribe("room:lobby")
        await bob.subscribe("room:lobby")
        await alice.say(type="broadcast", channel="room:lobby", payload={"text": "hi"})
        one, other = await alice.hear(), await bob.hear()
        assert one == other
        assert one.pop("id")
        assert one.pop("timestamp").endswith("Z")
        assert one == {
            "type": "broadcast",
            "channel": "room:lobby",
            "payload": {"text": "hi"},
            "sender": {"connection_id": alice.connected["connection_id"], "user_id": "alice"},
        }


async def test_the_sender_needs_no_subscription(here, there):
    async with here.client() as alice, there.client() as bob:
        await bob.subscribe("room:a")
        assert await alice.ask(type="broadcast", channel="room:a", payload=1, ref=1) == {
            "type": "ack",
            "ref": 1,
        }
        assert await hear_payloads(bob, 1) == [1]
        await expect_silence(alice)


async def test_the_sender_hears_itself_unless_it_says_otherwise(here, there):
    async with here.client() as alice, there.client() as bob, here.client() as neighbour:
        for client in (alice, bob, neighbour):
            await client.subscribe("room:a")
        for payload, more in enumerate([{}, {"self": False}, {"self": True}, {"self": False}, {}]):
            await alice.say(type="broadcast", channel="room:a", payload=payload, **more)
        assert await hear_payloads(bob, 5) == [0, 1, 2, 3, 4]
        assert await hear_payloads(neighbour, 5) == [0, 1, 2, 3, 4]
        assert await hear_payloads(alice, 3) == [0, 2, 4]
        await expect_silence(alice)


async def test_an_ack_comes_only_where_a_ref_was_given(here):
    async with here.client() as alice:
        await alice.say(type="broadcast", channel="room:a", payload=1)
        await alice.say(type="broadcast", channel="room:a", payload=1, ref=None)
        assert await alice.ask(type="broadcast", channel="room:a", payload=1, ref="r") == {
            "type": "ack",
            "ref": "r",
        }


async def test_whoever_says_to_be_another_is_still_itself(here, there):
    async with here.client(token_for(sub="mallory")) as mallory, there.client() as bob:
        await bob.subscribe("room:a")
        forged = {"connection_id": "0", "user_id": "alice"}
        await mallory.say(
            type="broadcast",
            channel="room:a",
            payload=1,
            sender=forged,
            user_id="alice",
            id="x-1",
            timestamp="",
        )
        message = await bob.hear()
        assert message["sender"] == {
            "connection_id": mallory.connected["connection_id"],
            "user_id": "mallory",
        }
        assert message["id"] != "x-1"
        assert message["timestamp"]


async def test_a_token_without_sub_sends_as_nobody(here):
    async with here.client(token_for(sub=None)) as nobody:
        await nobody.subscribe("room:a")
        await nobody.say(type="broadcast", channel="room:a", payload=None)
        message = await nobody.hear()
        assert (message["payload"], message["sender"]["user_id"]) == (None, None)


async def test_a_server_broadcasts_by_rest(here, there):
    async with here.client() as alice, there.client() as bob:
        await alice.subscribe("room:a")
        await bob.subscribe("room:a")
        assert await send_broadcasts(there, channel="room:a", payload=[1]) == (202, {"accepted": 1})
        for client in (alice, bob):
            message = await client.hear()
            assert message["payload"] == [1]
            assert message["sender"] == {"connection_id": None, "user_id": None}


async def test_a_hundred_messages_by_rest_arrive_in_their_order(here, there):
    async with there.client() as bob:
        await bob.subscribe("room:a")
        await bob.subscribe("room:b")
        messages = [{"channel": f"room:{'ab'[n % 2]}", "payload": n} for n in range(100)]
        assert await send_broadcasts(here, messages=messages) == (202, {"accepted": 100})
        heard = [await bob.hear() for _ in messages]
        for channel in ("room:a", "room:b"):
            assert [one["payload"] for one in heard if one["channel"] == channel] == [
                one["payload"] for one in messages if one["channel"] == channel
            ]


GOOD = {"channel": "room:a", "payload": 1}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"messages": [GOOD] * 101}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [GOOD, {"channel": "room:a"}]}, "messages[1].payload: missing"),
        ({"messages": [GOOD, {"payload": 1}]}, "messages[1].channel: missing"),
        ({"messages": [GOOD, 7]}, "messages[1]: expected"),
        ({"messages": [GOOD, {"channel": "nonsense", "payload": 1}]}, "messages[1].channel"),
        ({"messages": [GOOD], "channel": "room:a", "payload": 1}, "messages"),
        ({"channel": "room:a"}, "payload"),
        ({"payload": 1}, "channel"),
        ({"channel": 1, "payload": 1}, "channel"),
        ({}, "channel"),
    ],
)
async def test_a_wrong_request_names_the_field_and_sends_nothing(here, body, field):
    async with here.client() as client:
        await client.subscribe("room:a")
        status, answer = await send_broadcasts(here, **body)
        assert (status, answer["error"]["code"]) == (400, "invalid_request")
        assert field in answer["error"]["message"]
        await send_broadcasts(here, channel="room:a", payload="after")
        assert await hear_payloads(client, 1) == ["after"]


@pytest.mark.parametrize("channel", FORBIDDEN)
async def test_nobody_broadcasts_to_tables_and_presence(here, channel):
    async with here.client() as client:
        refused = await client.ask(type="broadcast", channel=channel, payload=1, ref=7)
        assert (refused["type"], refused["code"], refused["ref"], refused["channel"]) == (
            *("error", "forbidden", 7),
            channel,
        )
        await client.subscribe("room:a")
        status, answer = await send_broadcasts(here, messages=[GOOD, {"channel": channel, "payload": 1}])
        assert (status, answer["error"]["code"]) == (403, "forbidden")
        await expect_silence(client)


async def test_only_the_service_broadcasts_by_rest(here):
    status, answer = await send_broadcasts(here, token_for(), channel="room:a", payload=1)
    assert (status, answer["error"]["code"]) == (403, "forbidden")


async def test_a_broadcast_to_no_channel_or_without_payload_is_refused(here):
    async with here.client() as client:
        for channel in BAD_CHANNELS:
            refused = await client.ask(type="broadcast", channel=channel, payload=1, ref=1)
            assert (refused["code"], refused["ref"]) == ("invalid_channel", 1), channel
        wrongs: list[dict[str, Any]] = [{"channel": "room:a"}, {"payload": 1}, {"channel": 1, "payload": 1}]
        for wrong in wrongs:
            assert (await client.ask(type="broadcast", **wrong))["code"] == "invalid_message"
        wrong_self = await client.ask(type="broadcast", channel="room:a", payload=1, self="no")
        assert wrong_self["code"] == "invalid_message"


PAYLOADS = [
    "1E400",
    "-0.0",
    "12345678901234567890.10",
    "1.0000000000000000000000000000000001e-5",
    '{"b":1,"a":2,"b":3}',
    '{ "a" : [ 1 , 2 ] , "" : "" }',
    '"\\ud83d\\ude00 \\u0000 \\n \\/"',
    '"😀 Grüße \u2028 \uffff \U0010fffd"',
    '{"pretty": [\n\t1,\r\n\t{"x": "two\\nlines"}\n]\n}',
    "[" * 200 + "]" * 200,
    '"' + "x" * 40_000 + '"',
]


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload[:20])
async def test_a_payload_comes_out_as_it_went_in(here, there, payload):
    # Between two tokens a newline may come out as a space: in JSON that is the same.
    expected = f'"payload":{payload},"sender":'.replace("\n", " ")
    body = f'{{"channel":"room:a","payload":{payload}}}'.encode()
    async with here.client() as alice, there.client() as bob:
        await bob.subscribe("room:a")
        await alice.web_socket.send_str(f'{{"type":"broadcast","channel":"room:a","payload":{payload}}}')
        assert expected in await hear_text(bob)
        headers = {"Content-Type": "application/json"}
        status, *_ = await there.rest("POST", "/broadcast", SERVICE, data=body, headers=headers)
        assert status == 202
        assert expected in await hear_text(bob)


async def test_who_comes_back_on_another_node_gets_what_it_missed(here, there):
    async with here.client() as alice:
        async with there.client() as bob:
            await bob.subscribe("room:a")
            await alice.say(type="broadcast", channel="room:a", payload=0)
            seen = (await bob.hear())["id"]
        for number in range(1, 6):
            await alice.ask(type="broadcast", channel="room:a", payload=number, self=False, ref=number)
        async with here.client() as back:
            answer = await back.subscribe("room:a", since=seen)
            assert (answer["recovered"], answer["position"]) == (True, seen)
            await alice.say(type="broadcast", channel="room:a", payload="live")
            assert await hear_payloads(back, 6) == [1, 2, 3, 4, 5, "live"]


async def test_history_reaches_back_a_hundred_messages_and_not_two_hundred(here, there):
    async with there.client() as bob:
        start = (await bob.subscribe("room:a"))["position"]
    hundred = [{"channel": "room:a", "payload": n} for n in range(100)]
    await send_broadcasts(here, messages=hundred)
    async with there.client() as bob:
        assert (await bob.subscribe("room:a", since=start))["recovered"] is True
        assert await hear_payloads(bob, 100) == list(range(100))
    await send_broadcasts(here, messages=hundred)
    async with there.client() as bob:
        assert (await bob.subscribe("room:a", since=start))["recovered"] is False
        await expect_silence(bob)


async def test_messages_sent_one_by_one_are_recovered_to_the_last_of_a_hundred(here, there):
    async with here.client() as alice, there.client() as bob:
        start = (await bob.subscribe("room:a"))["position"]
        for number in range(105):
            await alice.say(type="broadcast", channel="room:a", payload=number)
        ids = [start] + [(await bob.hear())["id"] for _ in range(105)]
        async with here.client() as back:
            assert (await back.subscribe("room:a", since=ids[5]))["recovered"] is True
            assert await hear_payloads(back, 100) == list(range(5, 105))
            assert (await back.subscribe("room:a", since=ids[4]))["recovered"] is False


async def test_a_namespace_has_a_history_of_its_own_length(database_url, redis_url):
    chat = Namespace(history_entries=3, history_seconds=60)
    project = Project(database_url=database_url, jwt_secret=SECRET, namespaces={"chat": chat})
    async with running_gateway(Settings(redis_url=redis_url, projects={"demo": project})) as gateway:
        for channel, reaches in [("chat:a", False), ("room:a", True), ("chatter:a", True)]:
            async with gateway.client() as client:
                start = (await client.subscribe(channel))["position"]
                for number in range(4):
                    await client.say(type="broadcast", channel=channel, payload=number)
                first, *_ = [await client.hear() for _ in range(4)]
                assert (await client.subscribe(channel, since=first["id"]))["recovered"] is True
                assert await hear_payloads(client, 3) == [1, 2, 3]
                assert (await client.subscribe(channel, since=start))["recovered"] is reaches


async def test_all_nodes_show_one_order_however_many_send_at_once(here, there):
    each, senders = 50, 6
    async with here.client() as one, there.client() as other, here.client() as third:
        for listener in (one, other, third):
            await listener.subscribe("room:a")

        async def send(gateway, name):
            async with gateway.client(token_for(sub=name)) as sender:
                for number in range(each):
                    await sender.say(type="broadcast", channel="room:a", payload=[name, number])
                await sender.ask(type="ping")

        async with asyncio.TaskGroup() as tasks:
            for number in range(senders):
                tasks.create_task(send((here, there)[number % 2], f"s{number}"))
        heard = [
            [(message["id"], tuple(message["payload"])) for message in messages]
            for messages in [[await who.hear() for _ in range(each * senders)] for who in (one, other, third)]
        ]
        assert heard[0] == heard[1] == heard[2]
        for number in range(senders):
            numbers = [payload[1] for _, payload in heard[0] if payload[0] == f"s{number}"]
            assert numbers == list(range(each)), "a sender's own order"

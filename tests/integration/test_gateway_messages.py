"""What a client says to a gateway and what it hears: each row of sections 1 to 3 of the protocol."""

from __future__ import annotations

import re

import pytest

from realtime.channels import Event, Table
from tests.gateway_fixture import token_for

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


async def test_the_first_message_tells_who_is_connected(gateway):
    async with gateway.client(token_for(sub="alice")) as client:
        connected = client.connected
    assert connected.pop("connection_id")
    assert RFC3339.fullmatch(connected.pop("expires_at"))
    assert connected == {
        "type": "connected",
        "project_id": "demo",
        "user_id": "alice",
        "heartbeat_seconds": 25,
    }


async def test_a_token_without_sub_has_no_user_id(gateway):
    async with gateway.client(token_for(sub=None)) as client:
        assert client.connected["user_id"] is None


async def test_each_connection_has_an_id_of_its_own(gateway):
    async with gateway.client() as one, gateway.client() as other:
        assert one.connected["connection_id"] != other.connected["connection_id"]


async def test_ping_is_answered_with_the_time(gateway):
    async with gateway.client() as client:
        pong = await client.ask(type="ping", ref="a")
        assert RFC3339.fullmatch(pong.pop("timestamp"))
        assert pong == {"type": "pong", "ref": "a"}


@pytest.mark.parametrize("ref", ["a", "", "x" * 64, "Grüße", 0, -1, 17, 2**53 + 1, 2**63, -(2**70)])
async def test_ref_comes_back_as_it_went_in(gateway, ref):
    async with gateway.client() as client:
        assert (await client.ask(type="ping", ref=ref))["ref"] == ref
        assert (await client.ask(type="subscribe", channel="room:a", ref=ref))["ref"] == ref
        assert (await client.ask(type="unsubscribe", channel="room:a", ref=ref))["ref"] == ref
        assert (await client.ask(type="auth", token=token_for(), ref=ref))["ref"] == ref
        assert (await client.ask(type="auth", token="", ref=ref))["ref"] == ref
        assert (await client.ask(type="subscribe", channel="", ref=ref))["ref"] == ref
        assert (await client.ask(type="nonsense", ref=ref))["ref"] == ref
        assert (await client.ask(type="subscribe", ref=ref))["ref"] == ref


async def test_answers_have_no_ref_where_none_was_given(gateway):
    async with gateway.client() as client:
        for answer in [
            await client.ask(type="ping"),
            await client.ask(type="ping", ref=None),
            await client.ask(type="subscribe", channel="room:a"),
            await client.ask(type="unsubscribe", channel="room:a"),
            await client.ask(type="auth", token=token_for()),
            await client.ask(type="nonsense"),
        ]:
            assert "ref" not in answer


async def test_unknown_fields_are_ignored(gateway):
    async with gateway.client() as client:
        assert (await client.ask(type="ping", later={"a": [1]}))["type"] == "pong"
        assert (await client.ask(type="subscribe", channel="room:a", later=1))["type"] == "subscribed"


async def test_unsubscribe_is_answered_also_when_not_subscribed(gateway):
    async with gateway.client() as client:
        assert await client.ask(type="unsubscribe", channel="room:a") == {
            "type": "unsubscribed",
            "channel": "room:a",
        }


async def test_subscribed_tells_where_the_subscription_starts(gateway):
    async with gateway.client() as client:
        answer = await client.subscribe("table:orders", ref=1)
    assert answer.pop("position")
    assert answer == {
        "type": "subscribed",
        "channel": "table:orders",
        "recovered": False,
        "enabled": False,
        "ref": 1,
    }


async def test_only_a_table_channel_tells_whether_it_is_enabled(gateway):
    async with gateway.client() as client:
        for channel in ["room:lobby", "chat:room-123"]:
            assert "enabled" not in await client.subscribe(channel)
        for channel in ["presence", "presence:room:lobby"]:
            assert "enabled" not in await client.subscribe(channel)
            assert (await client.hear())["event"] == "sync"


async def test_enabled_is_what_it_is_at_the_time_of_subscribing(gateway, sql):
    async with gateway.client() as client:
        assert (await client.subscribe("table:orders"))["enabled"] is False
        await gateway.enable("orders", events=["INSERT"])
        assert (await client.subscribe("table:orders"))["enabled"] is True
        assert (await client.subscribe("table:public.orders:INSERT"))["enabled"] is True
        assert (await client.subscribe("table:users"))["enabled"] is False
        assert (await client.subscribe("table:nowhere"))["enabled"] is False


async def test_a_change_has_every_field_of_the_contract(gateway, publisher):
    async with gateway.client() as client:
        await client.subscribe("table:orders")
        await publisher.publish(event=Event.UPDATE)
        change = await client.hear()
    assert change.pop("id")
    assert change == {
        "type": "realtime",
        "channel": "table:orders",
        "schema": "public",
        "table": "orders",
        "event": "UPDATE",
        "data": {"id": 1},
        "old": {"id": 1, "was": True},
        "commit_timestamp": "2026-01-01T00:00:00.000000Z",
    }


SPELLINGS = [
    "table:orders",
    "table:public.orders",
    'table:"orders"',
    'table:public."orders"',
    "table:orders:UPDATE",
]


async def test_one_change_has_the_same_id_in_every_spelling_and_the_channel_as_the_client_spelled_it(
    gateway, publisher
):
    async with gateway.client() as client:
        for spelling in SPELLINGS:
            await client.subscribe(spelling)
        await publisher.publish(event=Event.UPDATE)
        changes = [await client.hear() for _ in SPELLINGS]
    assert sorted(change["channel"] for change in changes) == sorted(SPELLINGS)
    assert len({change["id"] for change in changes}) == 1


async def test_a_channel_with_an_event_hears_nothing_of_the_others(gateway, publisher):
    async with gateway.client() as client:
        await client.subscribe("table:orders:DELETE")
        await publisher.publish(2, Event.INSERT)
        await publisher.publish(2, Event.UPDATE)
        await publisher.publish(1, Event.DELETE)
        assert await client.hear_rows(1) == [5]


async def test_tables_of_one_name_in_two_schemas_are_two_feeds(gateway, publisher):
    async with gateway.client() as client:
        await client.subscribe("table:audit.orders")
        await publisher.publish()
        await publisher.publish(table=Table("audit", "orders"))
        assert (await client.hear())["schema"] == "audit"


async def test_a_name_with_dots_and_colons_stands_in_quotes(gateway, publisher):
    channel = 'table:"my.schema"."odd:name ""x""":INSERT'
    async with gateway.client() as client:
        await client.subscribe(channel)
        await publisher.publish(table=Table("my.schema", 'odd:name "x"'))
        change = await client.hear()
        assert (change["channel"], change["table"]) == (channel, 'odd:name "x"')


async def test_names_are_not_folded(gateway, publisher):
    async with gateway.client() as client:
        await client.subscribe("table:Orders")
        await client.subscribe("table:orders")
        await publisher.publish()
        await publisher.publish(table=Table("public", "Orders"))
        assert [(await client.hear())["channel"] for _ in range(2)] == ["table:orders", "table:Orders"]


async def test_subscribing_again_is_answered_again_and_doubles_nothing(gateway, publisher):
    async with gateway.client() as client:
        await client.subscribe("table:orders")
        await publisher.publish()
        assert await client.hear_rows(1) == [1]
        await client.subscribe("table:orders", ref=2)
        await publisher.publish(2)
        assert await client.hear_rows(2) == [2, 3]
        assert (await client.ask(type="ping"))["type"] == "pong"


async def test_after_unsubscribe_nothing_comes(gateway, publisher):
    async with gateway.client() as client, gateway.client() as other:
        await client.subscribe("table:orders")
        await other.subscribe("table:orders")
        await client.ask(type="unsubscribe", channel="table:orders")
        await publisher.publish()
        assert await other.hear_rows(1) == [1]
        assert (await client.ask(type="ping"))["type"] == "pong"


async def test_a_channel_over_the_limit_is_refused_and_a_known_one_is_not(gateway):
    most = gateway.settings.projects["demo"].limits.max_channels_per_connection
    async with gateway.client() as client:
        for number in range(most):
            await client.subscribe(f"room:{number}")
        refused = await client.ask(type="subscribe", channel="room:more", ref=1)
        assert (refused["code"], refused["channel"], refused["ref"]) == ("too_many_channels", "room:more", 1)
        await client.subscribe("room:0")
        await client.ask(type="unsubscribe", channel="room:0")
        await client.subscribe("room:more")


async def test_a_filter_is_refused_by_name(gateway):
    async with gateway.client() as client:
        refused = await client.ask(type="subscribe", channel="table:orders", filter="id=eq.1", ref="f")
        assert (refused["code"], refused["ref"], refused["channel"]) == (
            "invalid_filter",
            "f",
            "table:orders",
        )
        assert "filter" in refused["message"]
        assert (await client.ask(type="unsubscribe", channel="table:orders"))["type"] == "unsubscribed"
        await client.subscribe("table:orders", filter=None)

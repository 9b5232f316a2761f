"""Names with what emoji and scripts need go the whole way; what no channel can name cannot be enabled."""

from __future__ import annotations

import pytest

from tests.gateway_fixture import token_for

SERVICE = token_for(role="service_role")
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
UNSEEN = {
    "a tab": "a\tb",
    "a newline": "a\nb",
    "a no-break space": "a\u00a0b",
    "an override": "a\u202eb",
    "quotes that are doubled beyond 255 bytes": '"' * 63,
}


async def enable(gateway, name: str, schema: str | None = None):
    body = {"table_name": name, "schema": schema or "public"}
    status, answer, _ = await gateway.rest("POST", "/enable", SERVICE, json=body)
    return status, answer


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.mark.parametrize("name", UNSEEN.values(), ids=UNSEEN)
async def test_a_table_that_no_channel_names_is_listed_and_not_enabled(gateway, sql, name):
    schema = name if name.startswith('"') else "public"
    if schema != "public":
        await sql.execute(f"create schema {quoted(schema)}")
    await sql.execute(f"create table {quoted(schema)}.{quoted(name)} (id int)")
    status, answer = await enable(gateway, name, schema)
    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert answer["error"]["message"].startswith("table_name: ")
    _, answer, _ = await gateway.rest("GET", "/tables", SERVICE)
    assert (schema, name, False) in {
        (one["schema"], one["table_name"], one["enabled"]) for one in answer["tables"]
    }
    status, _, _ = await gateway.rest(
        "POST", "/disable", SERVICE, json={"table_name": name, "schema": schema}
    )
    assert status == 200


@pytest.mark.parametrize("name", [FAMILY, " a ", 'a "b" c', "a.b:c", '"' * 63, "\u0645\u06cc\u200c\u062e"])
async def test_a_table_that_can_be_enabled_can_be_subscribed_to(gateway, sql, name):
    await sql.execute(f"create table {quoted(name)} (id int)")
    assert (await enable(gateway, name))[0] == 200
    async with gateway.client() as client:
        assert (await client.subscribe(f"table:{quoted(name)}"))["enabled"] is True


async def test_a_broadcast_and_presence_go_by_an_emoji(gateway):
    async with gateway.client() as client:
        await client.subscribe(f"room:{FAMILY}")
        await client.subscribe(f"presence:room:{FAMILY}")
        assert (await client.hear())["event"] == "sync"
        body = {"channel": f"room:{FAMILY}", "payload": FAMILY}
        assert (await gateway.rest("POST", "/broadcast", SERVICE, json=body))[0] == 202
        heard = await client.hear()
        assert (heard["channel"], heard["payload"]) == (f"room:{FAMILY}", FAMILY)

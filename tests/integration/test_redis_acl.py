"""Redis with a user of its own for this service, who may do what the documentation says."""

from __future__ import annotations

import re

import msgspec
from redis.asyncio import Redis

from tests.docs_fixture import section
from tests.gateway_fixture import eventually, running_gateway, running_notifier, settings_for, token_for
from tests.servers import throw_away_valkey

PASSWORD = "of-no-use"


async def test_a_user_with_the_documented_rights_can_run_all_of_it(tmp_path, database_url, sql):
    rights = re.search(r"`(~realtime:\*[^`]*)`", section("docs/operations.md", "Redis"))
    assert rights is not None
    async with throw_away_valkey(tmp_path) as server:
        async with Redis.from_url(server.url) as redis:
            user = ["realtime", "on", f">{PASSWORD}", *rights[1].split()]
            await redis.execute_command("ACL SETUSER", *user)
        url = re.sub("//.*@", f"//realtime:{PASSWORD}@", server.url)
        both = settings_for(database_url, url)
        settings = msgspec.structs.replace(both, projects={"demo": both.projects["demo"]})
        async with running_gateway(settings) as gateway, running_notifier(settings):
            await eventually(gateway.is_ready)
            await gateway.enable("orders")
            async with gateway.client(token_for(sub="alice")) as client:
                await client.subscribe("table:orders")
                await client.subscribe("presence")
                assert (await client.hear())["event"] == "sync"
                assert (await client.ask(type="presence", state={}, ref=1))["type"] == "ack"
                assert (await client.hear())["event"] == "join"
                await sql.execute("insert into orders values (1, 'note')")
                assert await client.hear_rows(1) == [1]
                answer = await client.ask(type="broadcast", channel="room:a", payload=1, ref=2)
                assert answer["type"] == "ack"
            status, answer, _ = await gateway.rest("GET", "/connections", token_for(role="service_role"))
            assert (status, answer["connections"][-1]["event"]) == (200, "connect")
        async with Redis.from_url(server.url) as redis:
            assert await redis.execute_command("ACL LOG") == []

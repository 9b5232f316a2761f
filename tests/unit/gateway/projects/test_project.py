"""A project on a node when its settings change: what goes by the newer ones, what is left to be closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.projects.project import Tenant
from realtime.auth.tokens import issue
from realtime.channels import parse_channel
from realtime.errors import ClientError, Code
from realtime.redis.history import History
from realtime.settings.config import Limits, Namespace, Project, Settings
from tests.gateway_fixture import eventually

OLD, NEW = "an old secret of more than 32 bytes", "a newer secret of more than 32 bytes"
PROJECT = Project(database_url="postgresql://127.0.0.1/nowhere", jwt_secret=OLD)
TABLE, ROOM = parse_channel("table:orders"), parse_channel("room:lobby")


def settings(**changed: Any) -> Settings:
    return Settings(projects={"demo": msgspec.structs.replace(PROJECT, **changed)})


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


@pytest.fixture
async def tenant(http: aiohttp.ClientSession) -> AsyncIterator[Tenant]:
    tenant = Tenant("demo", settings(), http)
    yield tenant
    await tenant.close()


async def retire(tenant: Tenant, newer: Settings) -> list[str]:
    """Change it, close what it had before; return of what kinds that was."""
    older = tenant.change(newer)
    for one in older:
        await one.retire()
    return [type(one).__name__ for one in older]


def token(secret: str) -> str:
    return issue(secret, "demo", "alice", "authenticated", 60, time.time())


async def outcome(tenant: Tenant, secret: str) -> Code | str | None:
    return await outcome_of(tenant, token(secret))


async def outcome_of(tenant: Tenant, token: str) -> Code | str | None:
    try:
        return (await tenant.keys.verify(token, time.time())).user_id
    except ClientError as error:
        return error.code


async def test_tokens_are_checked_by_the_newer_key_alone(tenant: Tenant) -> None:
    assert [await outcome(tenant, secret) for secret in (OLD, NEW)] == ["alice", Code.UNAUTHORIZED]
    assert await retire(tenant, settings(jwt_secret=NEW)) == ["KeyRing"]
    assert [await outcome(tenant, secret) for secret in (OLD, NEW)] == [Code.UNAUTHORIZED, "alice"]


@pytest.mark.parametrize(
    ("changed", "retired"),
    [
        ({"jwt_audience": "app"}, ["KeyRing"]),
        ({"jwt_issuer": "us"}, ["KeyRing"]),
        ({"jwt_algorithms": ["HS256"]}, ["KeyRing"]),
        ({"jwt_secret": None, "jwks_url": "https://id.example.com/keys"}, ["KeyRing"]),
        ({"database_url": "postgresql://127.0.0.1/elsewhere"}, ["Tables"]),
        ({"listen_url": "postgresql://127.0.0.1/direct"}, ["Tables"]),
        ({"allowed_origins": ["*"]}, []),
        ({"limits": Limits(max_queue_bytes=2048)}, []),
        ({"namespaces": {"room": Namespace(history_entries=1)}}, []),
        ({"history_entries": 7}, []),
        ({"outbox_max_rows": 7, "doorbell": "off"}, []),
    ],
)
async def test_only_what_a_change_is_about_is_made_anew(
    tenant: Tenant, changed: dict[str, Any], retired: list[str]
) -> None:
    keys, tables = tenant.keys, tenant.tables
    assert await retire(tenant, settings(**changed)) == retired
    assert (tenant.keys is not keys, tenant.tables is not tables) == (
        "KeyRing" in retired,
        "Tables" in retired,
    )


async def test_histories_are_as_long_as_the_newer_settings_say(tenant: Tenant) -> None:
    assert tenant.history_of(TABLE) == History(10_000, 3_600)
    assert tenant.history_of(ROOM) == History(100, 300)
    namespaces = {"room": Namespace(history_entries=3, history_seconds=4)}
    await retire(tenant, settings(history_entries=1, history_seconds=2, namespaces=namespaces))
    assert tenant.history_of(TABLE) == History(1, 2)
    assert tenant.history_of(ROOM) == History(3, 4)


async def test_who_comes_is_counted_by_the_newer_rate_and_anew_only_if_it_is_another(tenant: Tenant) -> None:
    assert all(tenant.takes_one_more(0) for _ in range(1000))
    slow = Limits(connections_per_second=2)
    await retire(tenant, settings(limits=slow))
    assert [tenant.takes_one_more(0) for _ in range(3)] == [True, True, False]
    await retire(tenant, settings(limits=slow, allowed_origins=["*"]))
    assert not tenant.takes_one_more(0)
    await retire(tenant, settings(limits=Limits(connections_per_second=3)))
    assert [tenant.takes_one_more(0) for _ in range(4)] == [True, True, True, False]


async def test_what_was_said_is_remembered_until_a_reload_takes_the_limit_away(tenant: Tenant) -> None:
    tenant.ledger.note("room:lobby", 1_000, 60.0)
    await retire(tenant, settings(limits=Limits(max_history_bytes=5)))
    assert tenant.ledger.total(0.0) > 1_000
    await retire(tenant, settings(limits=Limits(max_history_bytes=0)))
    assert tenant.ledger.total(0.0) == 0


async def test_who_waits_for_keys_gets_them_though_others_have_come_meanwhile(
    http: aiohttp.ClientSession,
) -> None:
    """The keys of an address that answers late, and not well."""
    asked, answer = asyncio.Event(), asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await answer.wait()
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(late, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        remote = settings(jwt_secret=None, jwks_url=f"http://127.0.0.1:{port}/")
        tenant = Tenant("demo", remote, http)
        signed = jwt.encode({"exp": time.time() + 60}, ec.generate_private_key(ec.SECP256R1()), "ES256")
        waits = asyncio.create_task(outcome_of(tenant, signed))
        await eventually(asked.is_set)
        (older,) = tenant.change(settings())
        closing = asyncio.create_task(older.retire())
        assert await outcome(tenant, OLD) == "alice"
        assert not waits.done()
        answer.set()
        assert await waits == Code.UNAVAILABLE
        await closing
        await tenant.close()

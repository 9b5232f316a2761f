"""Why Redis cannot be reached, told of real servers: which server or sentinel, the cause, and no secret."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from realtime.causes.kinds import Cause
from realtime.redis.timings import RedisTimings
from tests.broken_redis import PASSWORD, Stage, broken_redis, reason_of
from tests.redis_servers.cluster import ValkeyCluster
from tests.redis_servers.sentinels import SENTINEL_PASSWORD, SentinelPair
from tests.redis_servers.server import PASSWORD as SERVERS_PASSWORD

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with broken_redis(tmp_path_factory.mktemp("causes")) as stage:
        yield stage


def broken(stage: Stage) -> Iterator[tuple[str, str, Cause, str]]:
    """URLs, with the server, the cause, and a piece of what the server said."""
    here = {where: f"127.0.0.1:{port}" for where, port in stage.ports.items()}
    url, well = stage.url, here["redis"]
    ca: dict[str, Any] = {"ssl_ca_certs": stage.certificates.ca}
    yield url("nobody"), here["nobody"], Cause.REFUSED, ""
    yield url(at="nosuch.invalid"), f"nosuch.invalid:{stage.ports['redis']}", Cause.UNKNOWN_HOST, ""
    yield url("http"), here["http"], Cause.PROTOCOL, ""
    yield url("hangs up"), here["hangs up"], Cause.CLOSED, ""
    yield url("postgres"), here["postgres"], Cause.CLOSED, ""
    yield url("tls"), here["tls"], Cause.CLOSED, ""
    yield url(login="app:wrong"), well, Cause.PASSWORD, "WRONGPASS"
    yield url(login="nobody:wrong"), well, Cause.PASSWORD, "WRONGPASS"
    yield url(login=":wrong"), well, Cause.PASSWORD, "WRONGPASS"
    yield url(login=""), well, Cause.NO_PASSWORD, "NOAUTH"
    yield url().replace("/0?", "/999?"), well, Cause.NO_DATABASE, "out of range"
    yield url(login=f"keyless:{PASSWORD}"), well, Cause.RIGHT, "NOPERM No permissions to access a key"
    yield url("hangs up", **ca), here["hangs up"], Cause.CLOSED_TLS, ""
    yield url("http", **ca), here["http"], Cause.NO_TLS, ""
    yield url(**ca), well, Cause.NO_TLS, ""
    yield url("tls", ssl_ca_certs=stage.certificates.stranger), here["tls"], Cause.UNTRUSTED, "issuer"
    yield url("tls", at="localhost", **ca), f"localhost:{stage.ports['tls']}", Cause.OTHER_HOST, "localhost"
    yield url("expired", **ca), here["expired"], Cause.EXPIRED, "expired"
    yield url("wants client", **ca), here["wants client"], Cause.CLOSED_TLS, ""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_a_redis_that_cannot_be_reached_is_told_by_place_and_cause(stage: Stage, loop: str) -> None:
    timings = RedisTimings(call_seconds=10.0)  # so that a busy machine leaves time for the answer
    for url, server, cause, said in broken(stage):
        reason = await reason_of(url, loop, timings=timings)
        assert reason.startswith(f"{server}: {cause}"), url
        assert said in reason, url
        assert PASSWORD not in reason
        assert "wrong" not in reason.replace(Cause.PASSWORD, ""), url


async def test_a_redis_that_is_silent_is_told_by_its_place(stage: Stage) -> None:
    timings = RedisTimings(call_seconds=0.5)
    server = f"127.0.0.1:{stage.ports['silent']}"
    assert await reason_of(stage.url("silent"), "uvloop", timings=timings) == f"{server}: {Cause.TIMEOUT}"
    by_tls = await reason_of(
        stage.url("silent", ssl_ca_certs=stage.certificates.ca), "uvloop", timings=timings
    )
    assert by_tls == f"{server} by TLS: {Cause.TIMEOUT}"


async def test_what_redis_does_not_know_is_told_without_what_it_was_asked(stage: Stage) -> None:
    reason = await reason_of(stage.url(), "uvloop", "NOSUCH", "of-nobody's-concern")
    assert reason == f"127.0.0.1:{stage.ports['redis']}: {Cause.REDIS_SETUP} (unknown command 'NOSUCH')"


async def test_a_redis_that_is_full_read_only_or_has_no_place_is_told(stage: Stage) -> None:
    server = f"127.0.0.1:{stage.ports['redis']}"
    async with Redis.from_url(stage.superuser_url) as redis:
        try:
            await redis.config_set("maxmemory", 1)
            assert (await reason_of(stage.url(), "uvloop", "SET", "a", "b")).startswith(
                f"{server}: {Cause.MEMORY} (OOM "
            )
            await redis.config_set("maxmemory", 0)
            await redis.execute_command("REPLICAOF", "127.0.0.1", stage.ports["nobody"])
            assert (await reason_of(stage.url(), "uvloop", "SET", "a", "b")).startswith(
                f"{server}: {Cause.READ_ONLY} (READONLY "
            )
            await redis.execute_command("REPLICAOF", "NO", "ONE")
            await redis.config_set("maxclients", 1)
            assert (await reason_of(stage.url(), "uvloop")).startswith(f"{server}: {Cause.FULL} (")
        finally:
            await redis.config_set("maxclients", 1_000)
            await redis.config_set("maxmemory", 0)
            await redis.execute_command("REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
async def test_one_server_is_no_sentinel_and_no_cluster(stage: Stage, kind: str) -> None:
    one, none = stage.ports["redis"], stage.ports["nobody"]
    path = "/mymaster?sentinel_username=app&sentinel_password=s3same" if kind == "sentinel" else ""
    url = f"redis+{kind}://app:{PASSWORD}@127.0.0.1:{one},127.0.0.1:{none}{path}"
    reason = await reason_of(url, "uvloop")
    assert f"127.0.0.1:{one}: {Cause.REDIS_SETUP}" in reason
    assert f"127.0.0.1:{none}: {Cause.REFUSED}" in reason
    assert PASSWORD not in reason


async def test_a_wrong_password_of_the_servers_is_told_of_the_primary(pair: SentinelPair) -> None:
    reason = await reason_of(pair.url.replace(SERVERS_PASSWORD, "wrong", 1), "uvloop")
    assert reason.startswith(f"{await pair.primary()}: {Cause.PASSWORD} (WRONGPASS")


async def test_a_wrong_password_of_the_sentinels_is_told_of_each_of_them(pair: SentinelPair) -> None:
    reason = await reason_of(pair.url.replace(SENTINEL_PASSWORD, "wrong"), "uvloop")
    assert reason.startswith("no sentinel tells who is the primary of 'realtime': ")
    for sentinel in pair.sentinels:
        assert f"{sentinel}: {Cause.PASSWORD} (WRONGPASS" in reason


async def test_a_service_that_no_sentinel_watches_is_told(pair: SentinelPair) -> None:
    reason = await reason_of(pair.url.replace("/realtime/", "/nosuch/"), "uvloop")
    assert "no sentinel tells who is the primary of 'nosuch': " in reason
    assert "(No such master with that name)" in reason


async def test_a_wrong_password_is_told_of_each_server_of_a_cluster(cluster: ValkeyCluster) -> None:
    reason = await reason_of(cluster.url.replace(SERVERS_PASSWORD, "wrong"), "uvloop")
    for address in cluster.addresses:
        assert f"{address}: {Cause.PASSWORD} (WRONGPASS" in reason

"""The set-ups of Redis that tests run on are what they claim, and do what the program counts on.

Seen with a plain client, without our program: a failure here is one of the set-up, or of the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AuthenticationError, ConnectionError, RedisError

from tests.change_stream import DEADLINE
from tests.redis_servers.cluster import ValkeyCluster
from tests.redis_servers.sentinels import SERVICE, SentinelPair
from tests.redis_servers.server import PASSWORD
from tests.redis_servers.tls import TlsServer, certify, tls_server

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),  # all that is done to a set-up is done on one loop
    pytest.mark.standalone,  # they need none of `--redis`
]

KEY = "key:{tag}"
CHANNEL = "channel:{tag}"
PUBLISH = "return redis.call('SPUBLISH', KEYS[1], ARGV[1])"
REPLICA_MS = 45_000
TAGS = 20  # enough to lie on every primary


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tls(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TlsServer]:
    async with tls_server(tmp_path_factory.mktemp("tls")) as server:
        yield server


async def store(setup: ValkeyCluster | SentinelPair, primary: str, value: str) -> None:
    """Set the key, and see that the replica has it."""
    async with setup.server(primary).client() as client:
        await client.set(KEY, value)
        assert await client.wait(1, REPLICA_MS) == 1


async def stored(setup: ValkeyCluster | SentinelPair, address: str) -> object:
    return await setup.server(address).command("GET", KEY)


async def role(setup: ValkeyCluster | SentinelPair, address: str) -> str:
    async with setup.server(address).client() as client:
        return str((await client.info("replication"))["role"])


async def another_primary(cluster: ValkeyCluster, than: str) -> str:
    return min(await cluster.primaries() - {than})


class TopicSubscriptions:
    """A subscription to the sharded channel, seen as the server sends it."""

    def __init__(self, client: Redis) -> None:
        self._subscription: Any = client.pubsub()

    async def __aenter__(self) -> TopicSubscriptions:
        await self._subscription.execute_command("SSUBSCRIBE", CHANNEL)
        assert await self.next() == ["ssubscribe", CHANNEL, 1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._subscription.aclose()

    async def next(self) -> list[Any]:
        async with asyncio.timeout(DEADLINE):
            return list(await self._subscription.parse_response())


async def test_the_keys_of_a_cluster_lie_on_three_primaries_that_have_a_replica_each(cluster: ValkeyCluster):
    primaries = {await cluster.primary_of(f"{{{tag}}}") for tag in range(TAGS)}
    assert primaries == await cluster.primaries()
    replicas = {await cluster.replica_of(primary) for primary in primaries}
    assert len(primaries) == len(replicas) == 3
    assert primaries | replicas == set(cluster.addresses)


async def test_the_replica_of_a_killed_primary_takes_over_with_the_data(cluster: ValkeyCluster):
    killed = await cluster.primary_of(KEY)
    replica = await cluster.replica_of(killed)
    await store(cluster, killed, "kept")
    await cluster.kill(killed)
    await cluster.wait_taken_over(killed)
    await cluster.wait_healthy()
    assert await cluster.primary_of(KEY) == replica
    assert await stored(cluster, replica) == "kept"
    await cluster.start(killed)
    await cluster.wait_healthy()
    assert await cluster.replica_of(replica) == killed


async def test_a_primary_that_was_frozen_wakes_as_a_replica(cluster: ValkeyCluster):
    frozen = await cluster.primary_of(KEY)
    cluster.pause(frozen)
    await cluster.wait_taken_over(frozen)
    cluster.resume(frozen)
    await cluster.wait_healthy()
    assert await cluster.replica_of(await cluster.primary_of(KEY)) == frozen


async def test_a_clean_switch_in_a_cluster_loses_nothing(cluster: ValkeyCluster):
    before = await cluster.primary_of(KEY)
    await store(cluster, before, "kept")
    await cluster.failover(before)
    after = await cluster.primary_of(KEY)
    assert after != before
    assert await stored(cluster, after) == "kept"


async def test_a_slot_moves_with_its_keys(cluster: ValkeyCluster):
    source = await cluster.primary_of(KEY)
    target = await another_primary(cluster, than=source)
    await store(cluster, source, "moved")
    await cluster.move_slot(key_slot(KEY.encode()), target)
    assert await cluster.primary_of(KEY) == target
    assert await stored(cluster, target) == "moved"
    with pytest.raises(RedisError, match=target):
        await stored(cluster, source)


async def test_an_emptied_cluster_holds_nothing_on_any_server(cluster: ValkeyCluster):
    for key in (f"{{{tag}}}" for tag in range(TAGS)):
        await cluster.server(await cluster.primary_of(key)).command("SET", key, "x")
    primaries = [cluster.server(address) for address in await cluster.primaries()]
    assert all([await primary.command("DBSIZE") for primary in primaries])
    await cluster.flush()
    assert [await primary.command("DBSIZE") for primary in primaries] == [0, 0, 0]


async def test_what_a_script_publishes_reaches_the_subscribers_of_its_slot(cluster: ValkeyCluster):
    async with (
        cluster.server(await cluster.primary_of(KEY)).client() as client,
        TopicSubscriptions(client) as heard,
    ):
        assert await client.eval(PUBLISH, 1, CHANNEL, "hello") == 1
        assert await heard.next() == ["smessage", CHANNEL, "hello"]


async def test_a_subscriber_is_told_when_its_slot_moves_away(cluster: ValkeyCluster):
    source = await cluster.primary_of(KEY)
    async with cluster.server(source).client() as client, TopicSubscriptions(client) as heard:
        await cluster.move_slot(key_slot(KEY.encode()), await another_primary(cluster, than=source))
        assert await heard.next() == ["sunsubscribe", CHANNEL, 0]


async def test_a_subscriber_is_told_when_its_primary_is_replaced(cluster: ValkeyCluster):
    primary = await cluster.primary_of(KEY)
    async with cluster.server(primary).client() as client, TopicSubscriptions(client) as heard:
        await cluster.failover(primary)
        assert await heard.next() == ["sunsubscribe", CHANNEL, 0]


async def test_sentinels_that_are_told_to_switch_name_another_primary(pair: SentinelPair):
    before = await pair.primary()
    await store(pair, before, "kept")
    await pair.failover()  # waits until all of them name another; a busy machine may switch back later
    assert await stored(pair, await pair.primary()) == "kept"


async def test_a_killed_primary_comes_back_as_a_replica(pair: SentinelPair):
    killed = await pair.primary()
    await store(pair, killed, "kept")
    await pair.kill(killed)
    await pair.wait_taken_over(killed)
    await pair.start(killed)
    await pair.wait_healthy()
    assert await role(pair, killed) == "slave"
    assert await stored(pair, killed) == "kept"


async def test_two_of_three_sentinels_make_a_frozen_primary_a_replica(pair: SentinelPair):
    absent, frozen = pair.sentinels[0], await pair.primary()
    await pair.kill(absent)
    pair.pause(frozen)
    await pair.wait_taken_over(frozen)
    pair.resume(frozen)
    await pair.start(absent)
    await pair.wait_healthy()
    assert await role(pair, frozen) == "slave"


async def test_a_sentinel_wants_a_password_of_its_own(pair: SentinelPair):
    _, _, port = pair.sentinels[0].rpartition(":")
    async with Redis(port=int(port), password=PASSWORD, retry=Retry(NoBackoff(), 0)) as client:
        with pytest.raises(AuthenticationError):
            await client.execute_command("SENTINEL MASTER", SERVICE)


async def test_tls_is_spoken_by_who_trusts_the_authority_and_has_the_password(tls: TlsServer):
    async with Redis.from_url(tls.url, retry=None, decode_responses=True) as client:
        await client.set(KEY, "secret")
        assert await client.get(KEY) == "secret"
        await tls.flush()
        assert await client.get(KEY) is None
    async with Redis.from_url(tls.url.replace(PASSWORD, "wrong"), retry=None) as client:
        with pytest.raises(AuthenticationError):
            await client.ping()


async def test_a_plain_connection_to_tls_is_refused(tls: TlsServer):
    async with Redis(port=tls.port, password=PASSWORD, retry=Retry(NoBackoff(), 0)) as client:
        with pytest.raises(ConnectionError):
            await client.ping()


async def test_a_certificate_of_another_authority_is_refused(tls: TlsServer, tmp_path: Path):
    certify(tmp_path)
    (trusted,) = parse_qs(urlsplit(tls.url).query)["ssl_ca_certs"]
    async with Redis.from_url(tls.url.replace(trusted, str(tmp_path / "ca.pem")), retry=None) as client:
        with pytest.raises(ConnectionError, match="certificate verify failed"):
            await client.ping()


async def test_a_server_that_insists_refuses_clients_without_a_certificate(tmp_path: Path):
    async with tls_server(tmp_path, insists=True) as server:
        without = server.url.partition("&ssl_certfile")[0]
        async with Redis.from_url(server.url, retry=None) as client:
            assert await client.ping()
        async with Redis.from_url(without, retry=None) as client:
            with pytest.raises(ConnectionError):
                await client.ping()

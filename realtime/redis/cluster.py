"""The servers of Redis and the keys of each: one server, the primary of sentinels, or a cluster's primaries.

The store asks to which server a command goes, a gateway where to subscribe. If servers may change, a task
looks for them every two seconds, and soon after an unexpected answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress

from redis import asyncio as redis
from redis.crc import key_slot
from redis.exceptions import MovedError

from realtime.causes.sentence import server_name, why
from realtime.errors import Unavailable
from realtime.logs.setup import get_logger
from realtime.redis.kept_connection import KeptConnection
from realtime.redis.pool import close, guide_client, server_client
from realtime.redis.timings import DEFAULTS, RedisTimings
from realtime.redis.topology import ASK_SECONDS, SLOTS, Shares, look
from realtime.settings.redis_url import Address, Kind, RedisUrl
from realtime.waiting.outage import Outage
from realtime.waiting.survival import Part

log = get_logger(__name__)

_part = Part("servers")

LOOK_SECONDS = 2.0  # between two looks for servers
HURRY_SECONDS = 0.05  # between two looks at least, however many answers are unexpected
STRANGER_SECONDS = 60.0  # for which a server without keys is kept


class Server:
    """One server of Redis; servers are compared by identity."""

    def __init__(self, address: Address, client: redis.Redis, *, has_tls: bool = False) -> None:
        self.address = address
        self.client = client
        self.kept = KeptConnection(client.connection_pool)
        self.has_tls = has_tls
        self.known_since = time.monotonic()

    def __repr__(self) -> str:
        return f"<Server {self}>"

    def __str__(self) -> str:
        return server_name(*self.address)


class Servers:
    """The servers that have keys, each with a pool of connections."""

    def __init__(self, url: RedisUrl, timings: RedisTimings = DEFAULTS) -> None:
        self.url = url
        self.timings = timings
        self._known: dict[Address, Server] = {}  # also servers that are about to have keys
        self._owners: list[Server | None] = []  # by slot; empty unless Redis is a cluster
        self._slots: Counter[Server | None] = Counter()  # number of slots of each server
        self._guides: dict[Address, redis.Redis] = {}  # clients to ask where the servers are
        self._hurry = asyncio.Event()
        self._news = asyncio.Event()  # set, and replaced, when servers or their slots change
        self._watch: asyncio.Task[None] | None = None
        self._has_logged_cluster = False  # that Redis is a cluster, but `redis_url` does not say so
        self._is_closed = False
        self._outage = Outage()  # which reasons were logged recently
        self.why_unknown: str | None = None  # why the last look found no server; None if it did
        self.all: tuple[Server, ...] = ()

    def __repr__(self) -> str:
        return f"<Servers {self.url.kind or 'standalone'} {', '.join(map(str, self.all))}>"

    async def begin(self) -> None:
        """Look for servers, for ASK_SECONDS at most, and start a task that keeps looking until closed."""
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(ASK_SECONDS):
                await self._look()
        if self.url.kind is not Kind.STANDALONE:  # a standalone server stays where the URL says
            self._watch = asyncio.create_task(self._keep_looking(), name="look for servers of Redis")

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        self._is_closed = True
        clients = [*self._guides.values(), *(server.client for server in self._known.values())]
        await close(client.aclose() for client in clients)

    def of(self, key: str | bytes) -> Server:
        """Return the server that is known to have a key or a channel; raises Unavailable."""
        server = self.all[0] if self.all else None
        if self._owners:
            server = self._owners[slot_of(key)]
        if server is None:
            self.look_soon()
            raise self.nobody_known()
        return server

    def nobody_known(self) -> Unavailable:
        """Return the error for an unknown server; clients see the same message as in any outage."""
        return Unavailable(
            "Redis cannot be reached now", self.why_unknown or "nobody tells yet which server of Redis to ask"
        )

    def at(self, address: Address) -> Server:
        """Return the server at an address; raises Unavailable for a new address after `close`."""
        if address not in self._known:
            if self._is_closed:
                raise Unavailable("Redis cannot be reached now", "the connections to Redis were closed")
            client = server_client(self.url, address, self.timings)
            self._known[address] = Server(address, client, has_tls=self.url.tls is not None)
        return self._known[address]

    def batches(self, channels: Iterable[bytes]) -> list[list[bytes]]:
        """Group channels that may be in one command: in a cluster, those of one slot."""
        by_slot: dict[int, list[bytes]] = defaultdict(list)
        for channel in channels:
            by_slot[slot_of(channel) if self.url.kind is Kind.CLUSTER else 0].append(channel)
        return list(by_slot.values())

    def look_soon(self) -> None:
        """Look for servers soon, since an answer was unexpected and they may have changed."""
        self._hurry.set()

    async def changed(self) -> None:
        """Wait until servers, or their slots, change."""
        await self._news.wait()

    def moved(self, error: MovedError) -> None:
        """Take the new owner of a slot from a redirection; other servers may not know it yet."""
        if self.url.kind is not Kind.CLUSTER:
            if not self._has_logged_cluster:
                log.warning("redis_is_a_cluster", server=str(self.all[0]) if self.all else None)
            self._has_logged_cluster = True
            return
        owner = self.at((error.host, error.port))
        if self._owners and (before := self._owners[error.slot_id]) is not owner:
            self._owners[error.slot_id] = owner
            self._slots.update({before: -1, owner: 1})
            self.all = tuple(server for server, slots in self._slots.items() if server and slots)
            self.wake_waiters()
        self.look_soon()

    async def _look(self) -> None:
        """Find out which server has which keys now; raises Unavailable if no server answers."""
        try:
            shares = await look(self.url, [server.address for server in self.all], self._guide)
        except Unavailable as error:
            self.why_unknown = why(error)
            raise
        self.why_unknown = None
        await self._adopt(shares)

    async def _adopt(self, shares: Shares) -> None:
        all_before, owners_before = self.all, self._owners
        self.all = tuple(map(self.at, shares))
        if self.url.kind is Kind.CLUSTER:
            self._owners = [None] * SLOTS
            for address, parts in shares.items():
                for first, last in parts:
                    self._owners[first : last + 1] = [self.at(address)] * (last + 1 - first)
            self._slots = Counter(self._owners)
        if all_before and set(self.all) != set(all_before):
            log.info("redis_servers_changed", servers=[str(server) for server in self.all])
        if set(self.all) != set(all_before) or self._owners != owners_before:
            self.wake_waiters()
        await self._part_from(all_before, shares)

    async def _part_from(self, before: Iterable[Server], shares: Shares) -> None:
        """Close servers that have no keys any more; keep a new server without keys for STRANGER_SECONDS."""
        long_ago = time.monotonic() - STRANGER_SECONDS
        unneeded = [
            self._known.pop(server.address).client
            for server in list(self._known.values())
            if server.address not in shares and (server in before or server.known_since < long_ago)
        ]
        unused = self._guides.keys() - shares.keys() - set(self.url.hosts)
        unneeded += [self._guides.pop(address) for address in unused]
        await close(client.aclose() for client in unneeded)

    def wake_waiters(self) -> None:
        """Wake all tasks that wait in `changed`."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _guide(self, address: Address) -> redis.Redis:
        if address not in self._guides:
            self._guides[address] = guide_client(self.url, address, self.timings)
        return self._guides[address]

    async def _keep_looking(self) -> None:
        while True:
            self._hurry.clear()
            try:
                await self._look()
            except Unavailable as error:
                if self._outage.is_news(why(error), time.monotonic()):
                    log.warning("redis_servers_unknown", error=why(error))
            except Exception as error:
                if _part.count(error):
                    log.exception("redis_look_failed")
            await asyncio.sleep(HURRY_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._hurry.wait()


def slot_of(key: str | bytes) -> int:
    """Return the slot of a cluster to which a key belongs."""
    return key_slot(key.encode() if isinstance(key, str) else key)

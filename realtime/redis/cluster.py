"""The servers of Redis, and which of them has what: one, the primary that sentinels name, or a cluster's.

The store asks where a command goes, a gateway where to listen. Where servers may change it looks every two
seconds, and as soon as something was not as expected.
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

from realtime.causes.sentence import place_of, why
from realtime.errors import Unavailable
from realtime.logs.setup import get_logger
from realtime.redis.pool import close, guide_client, server_client
from realtime.redis.topology import ASK_SECONDS, SLOTS, Shares, look
from realtime.settings.redis_url import Address, Kind, RedisUrl
from realtime.waiting.outage import Outage
from realtime.waiting.survival import Part

log = get_logger(__name__)

_part = Part("servers")

LOOK_SECONDS = 2.0  # between two looks
HURRY_SECONDS = 0.05  # likewise, however often something is not as expected
STRANGER_SECONDS = 60.0  # for which a server is known that has nothing


class Server:
    """One server; two are the same if they are the same object."""

    def __init__(self, address: Address, client: redis.Redis, *, has_tls: bool = False) -> None:
        self.address = address
        self.client = client
        self.has_tls = has_tls
        self.met_at = time.monotonic()

    def __repr__(self) -> str:
        return f"<Server {self}>"

    def __str__(self) -> str:
        return place_of(*self.address)


class Servers:
    """Those that have keys, each with a pool of connections."""

    def __init__(self, url: RedisUrl) -> None:
        self.url = url
        self._known: dict[Address, Server] = {}  # also those that are about to have keys
        self._owners: list[Server | None] = []  # by slot, in a cluster
        self._slots: Counter[Server | None] = Counter()  # how many each of them has
        self._guides: dict[Address, redis.Redis] = {}  # who tells where the servers are
        self._hurry = asyncio.Event()
        self._news = asyncio.Event()  # set, and replaced, when servers or their parts change
        self._watch: asyncio.Task[None] | None = None
        self._has_logged_cluster = False  # that `redis_url` does not say that it is one
        self._is_closed = False
        self._outage = Outage()  # what is news of why nobody tells
        self.why_unknown: str | None = None  # why nobody told at the last look
        self.all: tuple[Server, ...] = ()

    def __repr__(self) -> str:
        return f"<Servers {self.url.kind or 'standalone'} {', '.join(map(str, self.all))}>"

    async def begin(self) -> None:
        """Look for the first time, if somebody tells at once, and keep looking until closed."""
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(ASK_SECONDS):
                await self._look()
        if self.url.kind is not Kind.STANDALONE:  # which is where the URL says, and stays there
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
        """Return the server that has a key, or a channel, as far as is known; raises Unavailable."""
        server = self.all[0] if self.all else None
        if self._owners:
            server = self._owners[slot_of(key)]
        if server is None:
            self.look_soon()
            raise self.nobody_known()
        return server

    def nobody_known(self) -> Unavailable:
        """What it means that nobody tells which server to ask; to clients, no more than any outage."""
        return Unavailable(
            "Redis cannot be reached now", self.why_unknown or "nobody tells yet which server of Redis to ask"
        )

    def at(self, address: Address) -> Server:
        """Return the server at an address; raises Unavailable once closed, if it is a new one."""
        if address not in self._known:
            if self._is_closed:
                raise Unavailable("Redis cannot be reached now", "the connections to Redis were closed")
            client = server_client(self.url, address)
            self._known[address] = Server(address, client, has_tls=self.url.tls is not None)
        return self._known[address]

    def batches(self, channels: Iterable[bytes]) -> list[list[bytes]]:
        """Return channels as they may stand together in one command."""
        by_slot: dict[int, list[bytes]] = defaultdict(list)
        for channel in channels:
            by_slot[slot_of(channel) if self.url.kind is Kind.CLUSTER else 0].append(channel)
        return list(by_slot.values())

    def look_soon(self) -> None:
        """Something was not as expected: servers may have changed."""
        self._hurry.set()

    async def changed(self) -> None:
        """Wait until there are other servers, or they have other parts."""
        await self._news.wait()

    def moved(self, error: MovedError) -> None:
        """A server said who has a part now; the others may not know yet."""
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
            self.tell_news()
        self.look_soon()

    async def _look(self) -> None:
        """Find out who has what now; raises Unavailable if nobody tells."""
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
            self.tell_news()
        await self._part_from(all_before, shares)

    async def _part_from(self, before: Iterable[Server], shares: Shares) -> None:
        """Let go of those that have nothing any more; who is to get something is a stranger for a while."""
        long_ago = time.monotonic() - STRANGER_SECONDS
        gone = [
            self._known.pop(server.address).client
            for server in list(self._known.values())
            if server.address not in shares and (server in before or server.met_at < long_ago)
        ]
        unused = self._guides.keys() - shares.keys() - set(self.url.hosts)
        gone += [self._guides.pop(address) for address in unused]
        await close(client.aclose() for client in gone)

    def tell_news(self) -> None:
        """Let whoever waits for changes look again."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _guide(self, address: Address) -> redis.Redis:
        if address not in self._guides:
            self._guides[address] = guide_client(self.url, address)
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
    """The part of a cluster's keys that a key belongs to."""
    return key_slot(key.encode() if isinstance(key, str) else key)

"""All links of one process to a Redis of several servers: a fault may strike all of these links at once.

Servers send each other's addresses to clients. The bundle replaces each address in an answer by the address
of this process's link to that server, so that no connection bypasses the links. An address that is split
between two pieces of an answer is not replaced: such a connection bypasses the links until the next answer.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

from tests.chaos.link import Link, Silence

# After the host: as in a URL or in MOVED, as in CLUSTER SLOTS, and as in SENTINEL MASTER. Ports of a length
# keep the length of what is around them.
ADDRESS = re.compile(rb"(127\.0\.0\.1(?::|\r\n:|\r\n\$4\r\nport\r\n\$5\r\n))(\d{5})")
PORT_DIGITS = 5
WHOLE = 0.5  # how often a fault strikes all links instead of one


class Bundle:
    """The links of one process; `addresses` are the servers' addresses, once they run."""

    def __init__(self, name: str, addresses: Callable[[], Iterable[str]]) -> None:
        self.name = name
        self._addresses = addresses
        self._links: list[Link] = []
        self._ports: dict[bytes, bytes] = {}  # addresses of links, by the addresses of their servers

    def __repr__(self) -> str:
        return f"<Bundle {self.name}: {self._links}>"

    @property
    def connections(self) -> list[object]:
        return [connection for link in self._links for connection in link.connections]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for address in self._addresses():
                server = address.rpartition(":")[2]
                link = Link(f"{self.name} at {address}", int(server), self._rewrite)
                await stack.enter_async_context(link.listening())
                assert len(str(link.port)) == len(server) == PORT_DIGITS, link
                self._links.append(link)
                self._ports[server.encode()] = str(link.port).encode()
            yield

    def through(self, url: str) -> str:
        """Return the URL of the servers through these links."""
        return self._rewrite(url.encode()).decode()

    def _rewrite(self, data: bytes) -> bytes:
        return ADDRESS.sub(lambda found: found[1] + self._ports.get(found[2], found[2]), data)

    def part(self, dice: Random) -> Bundle | Link:
        """Return what a fault strikes: the whole bundle, or the link to one server."""
        return self if dice.random() < WHOLE else dice.choice(self._links)

    def cut(self) -> None:
        for link in self._links:
            link.cut()

    def black_hole(self, silence: Silence) -> None:
        for link in self._links:
            link.black_hole(silence)

    def delay(self, seconds: float) -> None:
        for link in self._links:
            link.delay(seconds)

    def heal(self) -> None:
        for link in self._links:
            link.heal()


Way = Link | Bundle  # of one process to one thing that it needs

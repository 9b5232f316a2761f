"""Finds out which servers of Redis there are now, and which keys each of them has.

`cluster` asks whenever servers may have changed. An answer may be outdated: sentinels tell how recent their
answer is, and a server of a cluster tells whether it is in touch with the others.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis import asyncio as redis
from redis.exceptions import RedisError

from realtime.causes.sentence import at, server_name, why
from realtime.errors import Unavailable
from realtime.settings.redis_url import Address, Kind, RedisUrl

SLOTS = 16_384  # of a cluster; a key belongs to the slot of its hash
EVERYTHING = (0, SLOTS - 1)
ASK_SECONDS = 2.0  # for one sentinel or server to answer

Share = tuple[int, int]  # first and last slot
Shares = dict[Address, list[Share]]  # the slots of each primary
Clients = Callable[[Address], redis.Redis]  # returns a client of the server or sentinel to ask


async def look(url: RedisUrl, known: Iterable[Address], clients: Clients) -> Shares:
    """Return the primaries with their slots; `known` are the primaries found last. Raises Unavailable."""
    match url.kind:
        case Kind.STANDALONE:
            return {url.hosts[0]: [EVERYTHING]}
        case Kind.SENTINEL:
            return {await _primary_by_sentinels(url, clients): [EVERYTHING]}
        case Kind.CLUSTER:
            others = random.sample(url.hosts, len(url.hosts))
            return await _shares_of_cluster([*dict.fromkeys([*known, *others])], clients)


async def _primary_by_sentinels(url: RedisUrl, clients: Clients) -> Address:
    """Ask all sentinels: a sentinel that is cut off from the others may name a former primary."""
    answers = await asyncio.gather(
        *[_ask_sentinel(clients(host), url.service) for host in url.hosts], return_exceptions=True
    )
    states = [answer for answer in answers if isinstance(answer, dict)]
    if not states:
        raise _unknown(f"no sentinel tells who is the primary of {url.service!r}", url.hosts, answers)
    latest = max(states, key=lambda state: int(str(state["config-epoch"])))
    return str(latest["ip"]), int(str(latest["port"]))


async def _ask_sentinel(client: redis.Redis, service: str) -> dict[str, object]:
    async with asyncio.timeout(ASK_SECONDS):
        state: dict[str, object] = await client.execute_command(  # type: ignore[no-untyped-call]
            "SENTINEL MASTER", service
        )
        return state


async def _shares_of_cluster(addresses: Sequence[Address], clients: Clients) -> Shares:
    """Ask one server after the other; use a server cut off from the others only if no other answers."""
    fallback: Shares | None = None
    errors: list[BaseException | None] = []
    for address in addresses:
        client = clients(address)
        try:
            async with asyncio.timeout(ASK_SECONDS):
                slots = await client.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
                info = await client.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]
                shares = _shares(slots, address[0])
        except (RedisError, OSError, TimeoutError) as error:
            errors.append(error)
            continue
        if shares and _is_ok(info):
            return shares
        errors.append(None)
        fallback = fallback or shares
    if not fallback:
        raise _unknown("no server of the cluster tells who has the keys", addresses, errors)
    return fallback


def _is_ok(info: object) -> bool:
    text = info.decode() if isinstance(info, bytes) else str(info)
    return "cluster_state:ok" in text


def _shares(slots: Sequence[Any], asked_host: str) -> Shares:
    """Read CLUSTER SLOTS: from, to, primary, replicas…; no host of a primary means the host asked."""
    shares: Shares = {}
    for first, last, (host, port, *_), *_ in slots:
        name = host.decode() if host else asked_host
        shares.setdefault((name, int(port)), []).append((int(first), int(last)))
    return shares


def _unknown(what: str, asked: Sequence[Address], answers: Sequence[object]) -> Unavailable:
    """Return Unavailable, with the reason of each server that did not answer, for operators."""
    errors = [
        at(answer, server_name(*address))
        for address, answer in sorted(zip(asked, answers, strict=True), key=lambda pair: pair[0])
        if isinstance(answer, Exception)
    ]
    reason = f"{what}: {why(ExceptionGroup(what, errors))}" if errors else what
    error = Unavailable("Redis cannot be reached now", reason)
    error.__cause__ = errors[0] if errors else None
    return error

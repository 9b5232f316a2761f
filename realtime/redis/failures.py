"""Errors of redis-py as the errors of this service: Unavailable, whose reason names the server and the cause.

`client` and who speaks to Redis beside it use them. Sends nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any

from redis.exceptions import RedisError

from realtime.causes.sentence import at, why
from realtime.errors import Unavailable
from realtime.redis.cluster import Server
from realtime.redis.timings import DEFAULTS


def named(servers: Iterable[Server]) -> str:
    """Return the names of servers for a reason."""
    return ", ".join(sorted(f"{one} by TLS" if one.has_tls else str(one) for one in servers))


def checked(answers: list[Any]) -> list[Any]:
    """Return answers that have no error among them; raises Unavailable for the first error."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise unavailable(answer) from answer
    return answers


def unavailable(error: Exception) -> Unavailable:
    """Translate an error of Redis into Unavailable, whose message is all that clients receive."""
    translated = Unavailable("Redis cannot be reached now", why(error))
    translated.__cause__ = error
    return translated


@asynccontextmanager
async def redis_errors_as_unavailable(
    seconds: float = DEFAULTS.call_seconds, waiting: Collection[Server] = ()
) -> AsyncIterator[None]:
    """Limit the time of a call, and translate redis-py's errors; `waiting` are servers without an answer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (RedisError, OSError, TimeoutError) as error:
        if waiting:
            at(error, named(waiting))
        raise unavailable(error) from error

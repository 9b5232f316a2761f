"""The Lua scripts in `realtime/redis/lua`, called by name, with many calls in one round trip.

The stores use them, and know the keys and arguments of each script.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

from redis.exceptions import NoScriptError

from realtime.redis.client import Command, Store
from realtime.redis.failures import checked
from realtime.resources import packaged_text

# The keys of a call, all in one slot of a cluster, and its arguments.
Call = tuple[Sequence[str | bytes], Sequence[object]]


class Script:
    """One Lua script of Redis."""

    def __init__(self, store: Store, *names: str, writes: bool = True) -> None:
        """Join the files of these names, in order: code that several scripts begin with has its own file.

        With `writes=False` Redis refuses every write of the script.
        """
        self._store = store
        self._by_sha, self._by_source = ("EVALSHA", "EVAL") if writes else ("EVALSHA_RO", "EVAL_RO")
        self._source = "\n".join(map(_source, names))
        self._sha = hashlib.sha1(self._source.encode(), usedforsecurity=False).hexdigest()

    def begin(self, call: Call, seconds: float) -> asyncio.Future[Any] | None:
        """Run the script without waiting, if that takes one step; see `Store.begin`."""
        return self._store.begin(_command(self._by_sha, self._sha, call), seconds)

    async def call(self, keys: Sequence[str], arguments: Sequence[object]) -> Any:
        return (await self.call_many([(keys, arguments)]))[0]

    async def call_many(self, calls: Sequence[Call], seconds: float | None = None) -> list[Any]:
        """Run the script for each call; raise the first error after all calls have run.

        Calls to one server run in order, unless it forgot the script: then the first call may run last.
        """
        return checked(await self.outcomes(calls, seconds))

    async def outcomes(self, calls: Sequence[Call], seconds: float | None = None) -> list[Any]:
        """Run the script for each call; return an answer or an error of Redis for each, in order."""
        answers = await self._store.send([_command(self._by_sha, self._sha, call) for call in calls], seconds)
        unknown = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            # The server does not have the script, so none of these calls ran. EVAL makes it keep the script.
            again = await self._store.send(
                [_command(self._by_source, self._source, calls[index]) for index in unknown], seconds
            )
            for index, answer in zip(unknown, again, strict=True):
                answers[index] = answer
        return answers


def _command(word: str, script: str, call: Call) -> Command:
    keys, arguments = call
    return Command(keys[0], (word, script, len(keys), *keys, *arguments))


@cache
def _source(name: str) -> str:
    return packaged_text(__package__, f"lua/{name}.lua")

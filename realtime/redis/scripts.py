"""Redis' scripts: what is in `realtime/redis/lua`, called by name, many calls in one round trip.

Used by the stores, which know what to say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

from redis.exceptions import NoScriptError

from realtime.redis.client import Command, Store, checked
from realtime.resources import packaged_text

# The keys of a call, all in one slot of a cluster, and its arguments.
Call = tuple[Sequence[str | bytes], Sequence[Any]]


class Script:
    """One script."""

    def __init__(self, store: Store, *names: str, writes: bool = True) -> None:
        """The files of these names, one after the other: what several begin with is in a file of its own.

        Redis lets a script that does not write change nothing, whatever it says.
        """
        self._store = store
        self._by_sha, self._by_source = ("EVALSHA", "EVAL") if writes else ("EVALSHA_RO", "EVAL_RO")
        self._source = "\n".join(map(_source, names))
        self._sha = hashlib.sha1(self._source.encode(), usedforsecurity=False).hexdigest()

    async def call(self, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        return (await self.call_many([(keys, arguments)]))[0]

    async def call_many(self, calls: Sequence[Call], seconds: float | None = None) -> list[Any]:
        """Call it for each; an error of one is raised when all are done.

        Those of one server are called in order, unless it forgot the script: the first of them may come last.
        """
        return checked(await self.outcomes(calls, seconds))

    async def outcomes(self, calls: Sequence[Call], seconds: float | None = None) -> list[Any]:
        """Likewise; what became of each stands in its place: an answer, or an error of Redis."""
        answers = await self._store.send([_command(self._by_sha, self._sha, call) for call in calls], seconds)
        unknown = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            # A server is new, and none of these has done anything. It keeps the script from here on.
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

"""Redis in any setup (one server, sentinels, a cluster): each command goes to the server that has its key.

If a key has moved to another server, its command is sent on; nothing else is sent twice. Errors of Redis are
raised as Unavailable, and no call takes longer than `call_seconds`. The stores use it, and know the commands.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from realtime.causes.sentence import at, why
from realtime.errors import SettingError, Unavailable
from realtime.logs.setup import get_logger
from realtime.redis.cluster import Server, Servers
from realtime.redis.failures import checked, named, redis_errors_as_unavailable, unavailable
from realtime.redis.pool import connect_anew
from realtime.redis.timings import DEFAULTS, RedisTimings
from realtime.settings.redis_url import SETTING, RedisUrl, parse_redis_url
from realtime.settings.tls_files import why_no_authorities, why_no_certificate
from realtime.waiting.outage import Outage

log = get_logger(__name__)

ANSWER_SECONDS = 1.0  # for each of several servers that get the same command
REDIRECTIONS = 8  # of one command, while slots of a cluster move
TRY_AGAIN_SECONDS = 0.05  # while a move has split the keys of one command between two servers
SCAN_COUNT = 500

_NOT_CARRIED_OUT = (MovedError, AskError, TryAgainError)
_UNCONVERTED = frozenset({"EVALSHA", "EVALSHA_RO"})  # commands whose answers redis-py does not convert
_SIGNS_OF_CHANGE = (ReadOnlyError, ClusterDownError, RedisConnectionError, OSError)


@dataclass(frozen=True, slots=True)
class Command:
    """A command, and the key that selects its server."""

    key: str | bytes
    words: Sequence[object]


def connect(redis_url: str, timings: RedisTimings = DEFAULTS) -> Store:
    """Return a Store, which connects at its first use. Raises SettingError for a wrong URL."""
    url = parse_redis_url(redis_url)
    _check_files(url.tls or {})
    return Store(url, timings)


def _check_files(tls: Mapping[str, Any]) -> None:
    if (path := tls.get("ssl_ca_certs")) and (reason := why_no_authorities(path)):
        raise SettingError(SETTING, f"ssl_ca_certs: {reason}")
    if path := tls.get("ssl_certfile"):
        reason = why_no_certificate(path, tls.get("ssl_keyfile"), tls.get("ssl_password", ""))
        if reason is not None:
            raise SettingError(SETTING, f"ssl_certfile: {reason}")


class Store:
    """All servers of Redis as one. A context manager, which closes all connections."""

    def __init__(self, url: RedisUrl, timings: RedisTimings = DEFAULTS) -> None:
        self.servers = Servers(url, timings)
        self._outage = Outage()  # which failures were logged recently

    def __repr__(self) -> str:
        return f"<Store {self.servers!r}>"

    async def __aenter__(self) -> Store:
        await self.servers.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.servers.close()

    async def call(self, word: str, key: str | bytes, *arguments: object) -> Any:
        """Run a command whose first argument is its key."""
        return (await self.call_many([Command(key, (word, key, *arguments))]))[0]

    async def call_many(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands; raise the first error after all of them have run."""
        return checked(await self.send(commands))

    async def send(self, commands: Sequence[Command], seconds: float | None = None) -> list[Any]:
        """Run commands, those of one server in order and in one round trip.

        Return an answer or an error of Redis for each command, in the order of the commands.
        """
        answers: list[Any] = [None] * len(commands)
        waiting: set[Server] = set()  # servers that have not answered yet
        limit = self.servers.timings.call_seconds if seconds is None else seconds
        try:
            if (server := self._ready(commands)) is not None:
                answers[0] = await self._ask(server, commands[0].words, limit)
            if server is None or isinstance(answers[0], _NOT_CARRIED_OUT):
                async with redis_errors_as_unavailable(limit, waiting):
                    await self._send_on(commands, answers, waiting)
        except Unavailable as error:
            self._log_once(why(error))
            raise
        for answer in answers:
            if isinstance(answer, Exception) and not isinstance(answer, NoScriptError):  # is retried
                self._log_once(why(answer))
                break
        return answers

    def begin(self, command: Command, seconds: float) -> asyncio.Future[Any] | None:
        """Send a script's call without waiting; return what will have its answer, or an error, in time.

        Return None, and send nothing, if that takes more than one step. `send` can do whatever fails here.
        """
        try:
            server = self._ready([command])
        except Unavailable:
            return None
        return None if server is None else server.kept.begin(command.words, seconds)

    def _ready(self, commands: Sequence[Command]) -> Server | None:
        """Return the server of a script that is called alone, if a connection to it is open and free."""
        if len(commands) != 1 or commands[0].words[0] not in _UNCONVERTED:
            return None
        server = self.servers.of(commands[0].key)
        return server if server.kept.is_ready else None

    async def _ask(self, server: Server, words: Sequence[object], seconds: float) -> Any:
        """Return the answer to the most frequent call, or an error of Redis, in few steps."""
        try:
            return await server.kept.execute(words, seconds)
        except TimeoutError as error:
            self.servers.look_soon()
            raise unavailable(at(error, named([server]))) from error
        except (RedisError, OSError) as error:
            await self._learn(server, [error])
            return error
        except asyncio.CancelledError:
            self.servers.look_soon()
            raise

    def _log_once(self, reason: str) -> None:
        """Log why a command failed, whatever the caller does with the error; log each cause once."""
        if self._outage.is_news(reason, time.monotonic()):
            log.warning("redis_call_failed", error=reason)

    async def _send_on(self, commands: Sequence[Command], answers: list[Any], waiting: set[Server]) -> None:
        """Send commands, and send them on to the servers to which their keys have moved."""
        todo: list[int] = list(range(len(commands)))
        for _ in range(REDIRECTIONS):
            if any(isinstance(answers[index], TryAgainError) for index in todo):
                await asyncio.sleep(TRY_AGAIN_SECONDS)
            await self._send(commands, todo, answers, waiting)
            todo = [index for index in todo if isinstance(answers[index], _NOT_CARRIED_OUT)]
            if not todo:
                return

    async def _send(
        self, commands: Sequence[Command], todo: Iterable[int], answers: list[Any], waiting: set[Server]
    ) -> None:
        """Send the commands `todo` once, and store their answers by their indexes."""
        by_server: dict[Server, list[int]] = defaultdict(list)
        for index in todo:
            before = answers[index]
            if type(before) is AskError:
                by_server[self.servers.at((before.host, before.port))].append(index)
            else:
                by_server[self.servers.of(commands[index].key)].append(index)
        waiting.update(by_server)
        parts = [
            self._send_to(server, commands, some, answers, waiting) for server, some in by_server.items()
        ]
        if len(parts) == 1:
            await parts[0]
        else:
            await asyncio.gather(*parts)

    async def _send_to(
        self,
        server: Server,
        commands: Sequence[Command],
        todo: Sequence[int],
        answers: list[Any],
        waiting: set[Server],
    ) -> None:
        indexes: list[int | None] = []  # index of the command of each answer; None for ASKING
        words: list[Sequence[object]] = []
        for index in todo:
            if type(answers[index]) is AskError:
                words.append(("ASKING",))
                indexes.append(None)
            words.append(commands[index].words)
            indexes.append(index)
        try:
            found = await _carry_out(server, words)
        except (RedisError, OSError) as error:
            found = [error] * len(indexes)
        except asyncio.CancelledError:
            self.servers.look_soon()  # the server may have been too slow
            raise
        waiting.discard(server)
        for position, answer in zip(indexes, found, strict=True):
            if position is not None:
                answers[position] = answer
        await self._learn(server, found)

    async def _learn(self, server: Server, answers: Sequence[object]) -> None:
        """Learn from errors which servers have changed."""
        if not any(isinstance(answer, Exception) for answer in answers):
            return
        for error in answers:
            if isinstance(error, Exception):
                at(error, server)
            if isinstance(error, AskError):
                error.host = error.host or server.address[0]
            if isinstance(error, MovedError):
                self.servers.moved(error)
        if any(isinstance(error, ReadOnlyError) for error in answers):
            await connect_anew(server.client)
        if any(isinstance(error, _SIGNS_OF_CHANGE) for error in answers):
            self.servers.look_soon()

    async def demoted(self, key: str | bytes) -> None:
        """Reconnect, and look for servers soon: the server of this key is no longer a primary."""
        await connect_anew(self.servers.of(key).client)
        self.servers.look_soon()

    async def everywhere(self, *words: object) -> dict[Server, Any]:
        """Run a command on every server, and return the answers that come within ANSWER_SECONDS.

        An answer may be a ResponseError. Raises Unavailable if no server answers.
        """
        servers = self.servers.all
        answers = await asyncio.gather(*[_answer(server, words) for server in servers])
        found = {
            server: answer
            for server, answer in zip(servers, answers, strict=True)
            if isinstance(answer, ResponseError) or not isinstance(answer, Exception)
        }
        if not found:
            self.servers.look_soon()
            checked(answers)
            raise self.servers.nobody_known()
        return found

    async def scan_hash(self, key: str, match: str) -> AsyncIterator[tuple[bytes, bytes]]:
        """Yield the fields of a hash that match, with their values; a field may come twice."""
        cursor = 0
        while True:
            cursor, found = await self.call("HSCAN", key, cursor, "MATCH", match, "COUNT", SCAN_COUNT)
            for item in found.items():
                yield item
            if not cursor:
                return


async def _carry_out(server: Server, commands: Sequence[Sequence[object]]) -> list[Any]:
    """Return an answer or an error for each command; an error of a single command is raised."""
    if len(commands) == 1:  # the most frequent case, and a pipeline costs more
        if commands[0][0] in _UNCONVERTED:
            return [await server.kept.execute(commands[0])]
        return [await server.client.execute_command(*commands[0])]  # type: ignore[no-untyped-call]
    async with server.client.pipeline(transaction=False) as pipeline:
        for words in commands:
            pipeline.execute_command(*words)
        found: list[Any] = await pipeline.execute(raise_on_error=False)
        return found


async def _answer(server: Server, words: Sequence[object]) -> Any:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await server.client.execute_command(*words)  # type: ignore[no-untyped-call]
    except (RedisError, OSError, TimeoutError) as error:
        return at(error, server)

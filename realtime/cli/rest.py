"""Calls the REST endpoints of a project: what the commands that ask the service share.

A command gets a `Service` from its options, and the service's answer as the bytes that came, so that numbers
keep all their digits. A refusal of the service and a service that is away are errors of one line each.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import click
import msgspec

from realtime.auth.tokens import SERVICE_ROLE
from realtime.causes.sentence import why
from realtime.cli.columns import harmless
from realtime.cli.options import (
    config_option,
    project_option,
    server_of_url,
    settings_here,
    token_option,
    url_option,
)
from realtime.cli.token import issue_token
from realtime.errors import RealtimeError, SettingError

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0  # longer than the service lets any of its requests take
MAX_ANSWER_BYTES = 256 * 1024 * 1024  # of one answer; what is bigger is something else
TRIES = 5  # of a request that is refused for its rate
LONGEST_PAUSE_SECONDS = 10.0

T = TypeVar("T")
StructT = TypeVar("StructT", bound=msgspec.Struct)


class ServiceRefused(RealtimeError):
    """The service answered with an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return harmless(f"{self.code}: {self.message}")


class ServiceAway(RealtimeError):
    """No service of ours answers at the address."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"{harmless(self.reason)}; start a gateway (`realtime dev`), or name its address with --url"


@dataclass(frozen=True, slots=True)
class Service:
    """The project at an address that a command asks, as its options say."""

    config: Path | None
    project: str
    url: str
    token: str | None
    as_json: bool

    def ask(self, work: Callable[[Rest], Awaitable[T]]) -> T:
        """Carry out requests and return what they gave; Ctrl-C ends it as it ends any program."""
        server = server_of_url(self.url)
        token = self.token or self._own_token()

        async def asked() -> T:
            async with _session(token) as http:
                return await work(Rest(http, self.url, self.project, server))

        return asyncio.run(asked())

    def get(self, path: str, kind: type[StructT], **query: str | None) -> tuple[bytes, StructT]:
        """Return the answer of one request as it came, and decoded."""
        return self._answer(lambda rest: rest.get(path, **query), kind)

    def post(self, path: str, body: dict[str, Any], kind: type[StructT]) -> tuple[bytes, StructT]:
        """Send what is not None of a body; return the answer as it came, and decoded."""
        return self._answer(lambda rest: rest.post(path, body), kind)

    def _answer(self, call: Callable[[Rest], Awaitable[bytes]], kind: type[StructT]) -> tuple[bytes, StructT]:
        async def asked(rest: Rest) -> tuple[bytes, StructT]:
            answer = await call(rest)
            return answer, rest.read(answer, kind)

        return self.ask(asked)

    def _own_token(self) -> str:
        settings = settings_here(self.config)
        if not settings.projects:
            raise SettingError("--config", "name the file with the settings, or give a --token")
        return issue_token(settings, self.project, None, SERVICE_ROLE, None)


def service_command(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the service; it gets them as its first argument, a `Service`."""

    @config_option
    @project_option
    @url_option
    @token_option
    @click.option("--json", "as_json", is_flag=True, help="Print the service's answer, for programs.")
    @functools.wraps(function)
    def command(
        config: Path | None, project: str, url: str, given_token: str | None, as_json: bool, **others: Any
    ) -> None:
        function(Service(config, project, url, given_token, as_json), **others)

    return command


def _session(token: str) -> aiohttp.ClientSession:
    seconds = aiohttp.ClientTimeout(total=ANSWER_SECONDS, connect=CONNECT_SECONDS)
    return aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}, timeout=seconds)


class Rest:
    """The REST endpoints of one project; raises ServiceRefused and ServiceAway."""

    def __init__(self, http: aiohttp.ClientSession, url: str, project: str, server: str) -> None:
        self._http = http
        self._base = f"{url.rstrip('/')}/projects/{quote(project, safe='')}/realtime"
        self._server = server

    async def get(self, path: str, **query: str | int | None) -> bytes:
        """Return the body of an answer; a `query` of None is left out."""
        return await self._call("GET", path, params={n: v for n, v in query.items() if v is not None})

    async def post(self, path: str, body: dict[str, Any]) -> bytes:
        """Send what is not None of a body, and return the body of the answer."""
        try:
            sent = msgspec.json.encode({name: value for name, value in body.items() if value is not None})
        except UnicodeEncodeError:
            raise click.UsageError("a name has bytes that are not UTF-8") from None
        return await self._call("POST", path, data=sent, headers={"Content-Type": "application/json"})

    def read(self, answer: bytes, kind: type[StructT]) -> StructT:
        """Decode an answer."""
        try:
            return msgspec.json.decode(answer, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ServiceAway(f"{self._server} answers, but not as Realtime does") from error

    async def _call(self, method: str, path: str, **more: Any) -> bytes:
        for left in reversed(range(TRIES)):
            try:
                # A redirect would take the token elsewhere.
                async with self._http.request(
                    method, self._base + path, allow_redirects=False, **more
                ) as answer:
                    body = await self._body(answer)
                    if answer.status < 300:
                        return body
                    pause = _pause(answer)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise ServiceAway(why(error, self._server)) from error
            if answer.status != 429 or not left:
                break
            await asyncio.sleep(pause)
        raise self._refusal(answer.status, body)

    async def _body(self, answer: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for piece in answer.content.iter_any():
            body += piece
            if len(body) > MAX_ANSWER_BYTES:
                raise ServiceAway(f"{self._server} answers with more than {MAX_ANSWER_BYTES} bytes")
        return bytes(body)

    def _refusal(self, status: int, body: bytes) -> RealtimeError:
        try:
            error = msgspec.json.decode(body, type=_Answer).error
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ServiceAway(f"{self._server}: HTTP status {status}, and no answer of Realtime")
        return ServiceRefused(error.code, error.message)


def _pause(answer: aiohttp.ClientResponse) -> float:
    """Return the seconds after which a request that came too often may come again."""
    header = answer.headers.get("Retry-After", "")
    return min(float(header), LONGEST_PAUSE_SECONDS) if header.isascii() and header.isdecimal() else 1.0


class _Error(msgspec.Struct):
    code: str
    message: str


class _Answer(msgspec.Struct):
    error: _Error

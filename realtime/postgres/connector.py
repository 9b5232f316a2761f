"""Open every session with Postgres, by a `database_url` or `listen_url`.

`realtime.postgres.pool` lends sessions to gateways and commands; `notifier.sessions` opens the sessions that
a notifier keeps. Every failure to open a session is raised as Unavailable, with host, port and cause for
operators.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import asyncpg

from realtime.causes.kinds import Cause
from realtime.causes.sentence import Phase, server_name, why
from realtime.errors import SettingError, Unavailable
from realtime.postgres.session import OwnSession
from realtime.postgres.tls import context_of, os_user
from realtime.settings.database_url import Address, parse_database_url

FRESH_SECONDS = 60.0  # time before certificate files are read again: the system's authorities take 0.1 s
MOST_DOORS = 4_096  # cached connectors; each project has one or two
AWAY = "the project's database cannot be reached now"

_OPEN_ERRORS = (
    OSError,
    ValueError,
    SettingError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
_MAY_GO_WITHOUT_TLS = ("disable", "allow", "prefer")
_TRY_NEXT = (OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched)


def away(reason: str) -> Unavailable:
    """Return the error for a database that cannot be reached; clients never see `reason`."""
    return Unavailable(AWAY, reason)


class Connector:
    """Opens sessions with one database."""

    def __init__(self, url: str, fresh_seconds: float = FRESH_SECONDS) -> None:
        self._url = parse_database_url(url, "database_url")
        self._fresh_seconds = fresh_seconds
        self._context: ssl.SSLContext | None = None
        self._read_at = 0.0  # monotonic time at which the context's files were read

    def __repr__(self) -> str:
        return f"<Connector {self.server_name}>"

    @property
    def server_name(self) -> str:
        """All hosts with their ports, for operators."""
        return self._url.server_name

    async def open(self, seconds: float, settings: Mapping[str, str], **options: Any) -> OwnSession:
        """Open a session at the first host that accepts one; `options` are asyncpg's.

        Each host gets `seconds` at most, unless the URL has another `connect_timeout`. Raises Unavailable.
        """
        target = self._url.more.get("target_session_attrs", "any")
        # The driver gets one host at a time, so for it `prefer-standby` would mean any server.
        targets = ("standby", "any") if target == "prefer-standby" else (target,)
        hosts = self._url.hosts
        if self._url.is_balanced:
            hosts = tuple(random.sample(hosts, len(hosts)))
        reasons: dict[str, None] = {}
        cause: BaseException | None = None
        for address, wanted in [(address, wanted) for wanted in targets for address in hosts]:
            try:
                more = {"timeout": self._url.connect_seconds or seconds, **options}
                return await self._open_at(address, settings, target_session_attrs=wanted, **more)
            except _OPEN_ERRORS as error:
                reasons[self._reason(error, address)] = None
                cause = error
                if not isinstance(error, _TRY_NEXT):
                    break
        raise away("; ".join(reasons)) from cause

    async def _open_at(self, address: Address, settings: Mapping[str, str], **options: Any) -> OwnSession:
        url = self._url
        user = url.user or os_user("database_url")
        more: dict[str, Any] = {**url.more, "ssl": self._ssl(), **options}
        return await asyncpg.connect(
            self._dsn(),
            host=address[0],
            port=address[1],
            user=user,
            # Never None: the driver would read the environment.
            password=url.password if url.password is not None or "passfile" in url.more else "",
            database=url.database or user,
            direct_tls=url.is_tls_direct,
            server_settings={**({"options": url.options} if url.options else {}), **settings},
            **more,
        )

    def _ssl(self) -> ssl.SSLContext | str | bool:
        """Return asyncpg's `ssl`: a context of ours, or a mode that allows a connection without TLS."""
        if self._url.sslmode in _MAY_GO_WITHOUT_TLS:
            return False if self._url.sslmode == "disable" else self._url.sslmode
        if self._context is None or time.monotonic() - self._read_at > self._fresh_seconds:
            self._context = self._renewed()
            self._read_at = time.monotonic()
        return self._context

    def _renewed(self) -> ssl.SSLContext:
        """Read the files again; if that fails, as while files are replaced, keep the previous context."""
        try:
            return context_of(self._url)
        except (OSError, ValueError):
            if self._context is None:
                raise
            return self._context

    def _dsn(self) -> str | None:
        """Return a DSN with the TLS files, for the modes in which asyncpg makes its own context."""
        if self._url.sslmode not in _MAY_GO_WITHOUT_TLS or not self._url.tls:
            return None
        return f"postgresql://?{urlencode(self._url.tls)}"

    def _reason(self, error: BaseException, address: Address) -> str:
        has_password = self._url.password or "passfile" in self._url.more
        if getattr(error, "sqlstate", "") == "28P01" and not has_password:
            return f"{server_name(*address)}: {Cause.NO_PASSWORD}"
        phase = Phase.CONNECTING if self._url.sslmode in _MAY_GO_WITHOUT_TLS else Phase.CONNECTING_BY_TLS
        return why(error, server_name(*address), phase)


@lru_cache(MOST_DOORS)
def connector_for(url: str) -> Connector:
    """Return the connector for a URL; raises SettingError for a wrong URL."""
    return Connector(url)

"""A Redis that speaks TLS only, with a password, by certificates that are made for the occasion.

The wheel's server has no TLS, so it is Debian's `redis-server`, or whichever is on the path. Without one,
tests are skipped; CI insists on it. Used by whoever tests `rediss://`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

import pytest

from realtime.dev import directory as files
from tests.ports import free_port
from tests.redis_servers.certificates import Authority
from tests.redis_servers.server import COMMON, PASSWORD, RedisServer, configuration

PROGRAMS = ("redis-server", "valkey-server")
ASKED_SECONDS = 60.0
FILES = {"tls-ca-cert-file": "ca.pem", "tls-cert-file": "server.pem", "tls-key-file": "server.key"}


class TlsServer:
    """One server; `url` carries the password and says by whom it is certified."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def __repr__(self) -> str:
        return f"<TlsServer {self._server!r}>"

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def port(self) -> int:
        return self._server.port

    async def flush(self) -> None:
        """Delete everything that it holds."""
        await self._server.command("FLUSHALL")


@asynccontextmanager
async def tls_server(directory: Path, *, insists: bool = False) -> AsyncIterator[TlsServer]:
    """Run one below the directory, that may insist on clients' certificates. Skips if there is no program."""
    port = free_port()
    part = directory / "data"
    options = {"ssl_ca_certs": part / "ca.pem"}
    if insists:
        options |= {"ssl_certfile": part / "client.pem", "ssl_keyfile": part / "client.key"}
    url = f"rediss://:{PASSWORD}@127.0.0.1:{port}/0?{urlencode(options, safe='/')}"
    server = RedisServer(directory, url, program=program_with_tls())
    certify(server.part)
    client = {"tls-auth-clients": "yes" if insists else "no"}
    server.configure(configuration({**COMMON, "port": 0, "tls-port": port, **FILES, **client}))
    try:
        await server.start()
        yield TlsServer(server)
    finally:
        await server.kill()


def certify(part: Path) -> None:
    """Make an authority, and certificates of a server on 127.0.0.1 and of a client."""
    authority = Authority()
    files.write_private(part / "ca.pem", authority.certificate)
    for name in ("server", "client"):
        certificate, key = authority.certify(name)
        files.write_private(part / f"{name}.pem", certificate)
        files.write_private(part / f"{name}.key", key)


def program_with_tls() -> Path:
    """Find a server that has TLS; skips the test, or fails in CI, if there is none."""
    for name in PROGRAMS:
        if (found := shutil.which(name)) and _has_tls(found):
            return Path(found)
    why = f"there is no {' or '.join(PROGRAMS)} with TLS on this machine"
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)


@cache
def _has_tls(program: str) -> bool:
    # It ends at once: with TLS for want of a certificate, without it for want of TLS.
    words = (program, "--port", "0", "--tls-port", "1")
    outcome = subprocess.run(words, capture_output=True, text=True, check=False, timeout=ASKED_SECONDS)
    return "No tls-cert-file" in outcome.stdout + outcome.stderr

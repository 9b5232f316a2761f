"""Parse `database_url` and `listen_url` as libpq parses a URL, for a driver that is not libpq.

    postgresql://user:password@host:port,host:port/database?parameter=value&…

A pure function of the text; `realtime.postgres` connects. Only the URL counts: neither environment variables
(`PGHOST`, `PGSSLMODE`, …) nor files of libpq add to it. A parameter is either carried out, or ignored because
it makes no difference here, or refused by its name. An error never quotes the URL, since a badly encoded
password may be in any part of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from realtime.causes.sentence import server_name
from realtime.errors import SettingError
from realtime.settings.database_parameters import (
    CARRIED_OUT,
    ENCODING_HINT,
    SAME_AS,
    VERIFYING,
    check_parameter,
)

DEFAULT_PORT = 5432
# Where a server on this machine may listen; tried if the URL names no host.
LOCAL = ("/run/postgresql", "/var/run/postgresql", "/tmp", "localhost")  # noqa: S108
MOST_CONNECT_SECONDS = 60.0  # the caller waits this long
MAX_URL = 8_192  # characters

Address = tuple[str, int]  # a host, or the directory of a Unix socket; a port

_URL = re.compile(r"postgres(?:ql)?://(?P<authority>[^/?]*)(?P<path>/[^?]*)?(?:\?(?P<query>.*))?", re.DOTALL)
_HOST = re.compile(r"(?:\[(?P<ip>[^\[\]]+)\]|(?P<name>[^\[\]:]*))(?::(?P<port>[0-9]{0,5}))?")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """Where a database is and how to connect; None means the driver's default."""

    hosts: tuple[Address, ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    sslmode: str = "prefer"
    tls: Mapping[str, str] = field(
        default_factory=dict, repr=False
    )  # files and versions, under libpq's names
    is_tls_direct: bool = False
    is_balanced: bool = False  # hosts are tried in random order
    connect_seconds: float | None = None
    more: Mapping[str, str] = field(default_factory=dict)  # parameters with the same name in the driver
    options: str | None = field(default=None, repr=False)  # command line options for the server process

    @property
    def server_name(self) -> str:
        """All hosts with their ports, for logs and error messages."""
        return ", ".join(server_name(*address) for address in self.hosts)


def parse_database_url(url: str, setting: str) -> DatabaseUrl:
    """Parse the URL; raises SettingError, which names the setting and the wrong parameter."""
    try:
        return _read(url)
    except _Wrong as wrong:
        raise SettingError(setting, str(wrong)) from None


class _Wrong(Exception):
    pass


def _read(url: str) -> DatabaseUrl:
    found = _URL.fullmatch(url)
    if found is None:
        raise _Wrong("expected postgresql://")
    path, query = (found["path"] or "")[1:], found["query"] or ""
    # Signs of a password that is not encoded: parts of it would be parsed as something else and then quoted.
    if len(url) > MAX_URL or "#" in url or "@" in query or "@" in path or "/" in path or _UNSEEN.search(url):
        raise _Wrong(ENCODING_HINT)
    login, _, hosts = found["authority"].rpartition("@")
    user, _, password = login.partition(":")
    given = {"user": user, "password": password, "dbname": path}
    said = {name: _decoded(text) for name, text in given.items() if text}
    for name, value in _parameters(query).items():
        if name in said:
            raise _Wrong(f"{name}: given twice")
        said[name] = value
    return _assembled(_hosts(hosts, said), said)


def _parameters(query: str) -> dict[str, str]:
    """Return the parameters to carry out, under libpq's names."""
    found: dict[str, str] = {}
    for pair in query.split("&") if query else []:
        encoded, sign, value = pair.partition("=")
        name, value = _decoded(encoded), _decoded(value)
        if not sign or not re.fullmatch("[a-z_]{1,40}", name):
            raise _Wrong("expected name=value after the question mark")
        if name in SAME_AS:
            name, value = SAME_AS[name](value)
        if reason := check_parameter(name, value):
            raise _Wrong(f"{name}: {reason}")
        if name in found:
            raise _Wrong(f"{name}: given twice")
        found[name] = value
    return {name: value for name, value in found.items() if name in CARRIED_OUT and value}


def _hosts(text: str, said: dict[str, str]) -> tuple[Address, ...]:
    """Return the hosts before the path, or else those of `host` and `port`; removes these two from `said`."""
    names: list[str] = []
    ports: list[str] = []
    for one in text.split(",") if text else []:
        found = _HOST.fullmatch(one)
        if found is None:
            raise _Wrong(ENCODING_HINT)
        names.append(_decoded(found["ip"] or found["name"]))
        ports.append(found["port"] or "")
    if more := said.pop("host", ""):
        if any(names):
            raise _Wrong("host: given twice")
        names = [name.removeprefix("[").removesuffix("]") for name in more.split(",")]
    if more := said.pop("port", ""):
        if any(ports):
            raise _Wrong("port: given twice")
        ports = more.split(",")
    names = names if any(names) else list(LOCAL)
    if len(ports) < 2:
        ports = (ports or [""]) * len(names)
    if len(ports) != len(names) or not all(names):
        raise _Wrong("port: as many are needed as there are hosts, or one")
    return tuple((_host(name), _port(port)) for name, port in zip(names, ports, strict=True))


def _host(name: str) -> str:
    try:
        if not name.startswith("/"):
            name.encode("idna")
    except UnicodeError:
        raise _Wrong("a host's name is none") from None
    if re.search(r"[\s@]", name) or _UNSEEN.search(name):
        raise _Wrong("a host's name is none")
    return name


def _port(text: str) -> int:
    if text and not re.fullmatch("[0-9]{1,5}", text):
        raise _Wrong("port: not a number")
    if not 0 < (port := int(text or DEFAULT_PORT)) < 65_536:
        raise _Wrong("port: not between 1 and 65535")
    return port


def _assembled(hosts: tuple[Address, ...], said: dict[str, str]) -> DatabaseUrl:
    """Build the result; parameters that remain in `said` go to the driver under their names."""
    is_system = said.get("sslrootcert") == "system"
    sslmode = said.pop("sslmode", "verify-full" if is_system else "prefer")
    is_direct = said.pop("sslnegotiation", "postgres") == "direct"
    if is_system and sslmode != "verify-full":
        raise _Wrong("sslmode: only verify-full goes with sslrootcert=system")
    if is_direct and sslmode not in ("require", *VERIFYING):
        raise _Wrong("sslnegotiation: direct needs sslmode=require, verify-ca or verify-full")
    if "sslkey" in said and "sslcert" not in said:
        raise _Wrong("sslkey: needs sslcert")
    seconds = float(said.pop("connect_timeout", 0))
    tls = {name: said.pop(name) for name in [*said] if name.startswith("ssl")}
    return DatabaseUrl(
        hosts=hosts,
        user=said.pop("user", None),
        password=said.pop("password", None),
        database=said.pop("dbname", None),
        sslmode=sslmode,
        tls=tls,
        is_tls_direct=is_direct,
        is_balanced=said.pop("load_balance_hosts", "") == "random",
        connect_seconds=min(seconds, MOST_CONNECT_SECONDS) if seconds > 0 else None,
        options=said.pop("options", None),
        more=said,
    )


def _decoded(text: str) -> str:
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeError:  # when it encodes or when it decodes
        raise _Wrong("not UTF-8, as it stands or behind a %") from None
    if "\0" in decoded:
        raise _Wrong("%00 stands for nothing that Postgres could take")
    return decoded

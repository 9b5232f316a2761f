"""Parse `redis_url`: the addresses, and whether they are one server, sentinels or a cluster.

    redis://user:password@host:port/db        redis+cluster://:password@host:port,host:port
    redis+sentinel://:password@host:port,host:port/SERVICE/db       with rediss…: TLS

A pure function of the text; `realtime.redis.client` connects. An error never quotes a password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from realtime.errors import SettingError

SETTING = "redis_url"
SCHEMES = "redis://, rediss://, redis+sentinel:// or redis+cluster://"

Address = tuple[str, int]


class Kind(StrEnum):
    """How the client finds the servers."""

    STANDALONE = ""  # there is one server
    SENTINEL = "sentinel"  # sentinels tell which server is the primary now
    CLUSTER = "cluster"  # each server has some of the keys, and tells which server has the others


PORTS = {Kind.STANDALONE: 6379, Kind.SENTINEL: 26379, Kind.CLUSTER: 6379}
_SCHEME = re.compile(r"redis(?P<tls>s?)(\+(?P<kind>sentinel|cluster))?")
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(:(?P<port>[0-9]{1,5}))?")

# Options after the question mark, and their values; None means any value.
_TLS_OPTIONS: Mapping[str, tuple[str, ...] | None] = {
    "ssl_ca_certs": None,
    "ssl_certfile": None,
    "ssl_keyfile": None,
    "ssl_password": None,
    "ssl_cert_reqs": ("required", "optional", "none"),
    "ssl_check_hostname": ("true", "false"),
}
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A parsed URL; `hosts` are the server, the sentinels, or some servers of the cluster."""

    kind: Kind
    hosts: tuple[Address, ...]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    service: str = ""  # the sentinels' name for the primary
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: Mapping[str, Any] | None = field(
        default=None, repr=False
    )  # TLS options under redis-py's names; None means no TLS


def parse_redis_url(url: str) -> RedisUrl:
    """Parse the URL; raises SettingError, which says what is wrong."""
    try:
        parts = urlsplit(url)
    except ValueError:  # its text quotes a part of the URL
        raise _misread() from None
    # Signs of a password that is not encoded: parts of it would be parsed as something else and then quoted.
    if parts.fragment or "@" in parts.path + parts.query or re.search(r"[\x00-\x1f\x7f]", url):
        raise _misread()
    scheme = _SCHEME.fullmatch(parts.scheme)
    if scheme is None or not url.startswith(f"{parts.scheme}://"):
        raise SettingError(SETTING, f"expected {SCHEMES}")
    kind = Kind(scheme["kind"] or "")
    user_info, _, hosts = parts.netloc.rpartition("@")
    username, _, password = user_info.partition(":")
    service, db = _path(kind, parts)
    options = _options(kind, bool(scheme["tls"]), parts)
    return RedisUrl(
        kind=kind,
        hosts=_hosts(kind, hosts),
        username=_decoded(username) or None,
        password=_decoded(password) or None,
        db=db,
        service=service,
        sentinel_username=options.pop("sentinel_username", None),
        sentinel_password=options.pop("sentinel_password", None),
        tls=options if scheme["tls"] else None,
    )


def _hosts(kind: Kind, text: str) -> tuple[Address, ...]:
    found = []
    for one in text.split(",") if text else ["localhost"]:
        match = _HOST.fullmatch(one)
        if match is None or not 0 < (port := int(match["port"] or PORTS[kind])) < 65_536:
            raise SettingError(SETTING, "expected host:port, several with commas in between")
        found.append((_host(_decoded(match["host"].strip("[]"))), port))
    if kind is Kind.STANDALONE and len(found) > 1:
        raise SettingError(SETTING, "several hosts are for redis+sentinel:// and redis+cluster://")
    return tuple(found)


def _path(kind: Kind, parts: SplitResult) -> tuple[str, int]:
    """Return the sentinels' service name and the number of the database."""
    words = [_decoded(word) for word in parts.path.split("/") if word]
    service = ""
    if kind is Kind.SENTINEL:
        if not words:
            raise SettingError(SETTING, "expected the service that the sentinels watch, as in …/mymaster")
        service = words.pop(0)
    if kind is Kind.CLUSTER and words not in ([], ["0"]):
        raise SettingError(SETTING, "a cluster has no databases")
    if len(words) > 1 or (words and not re.fullmatch("[0-9]{1,9}", words[0])):
        raise SettingError(SETTING, "expected the number of a database after the last slash")
    return service, int(words[0]) if words else 0


def _options(kind: Kind, tls: bool, parts: SplitResult) -> dict[str, Any]:
    options: dict[str, Any] = {}
    given = [text.partition("=") for text in parts.query.split("&")] if parts.query else []
    names = [_decoded(name) for name, _, _ in given]
    for name, value in zip(names, (_decoded(value) for _, _, value in given), strict=True):
        if name in _TLS_OPTIONS and tls:
            allowed = _TLS_OPTIONS[name]
            if allowed is not None and value not in allowed:
                raise SettingError(SETTING, f"{name} is one of {', '.join(allowed)}")
            options[name] = value == "true" if allowed == ("true", "false") else value
        elif name in _TLS_OPTIONS:
            raise SettingError(SETTING, f"{name} is for TLS: rediss://")
        elif name in _SENTINEL_OPTIONS and kind is Kind.SENTINEL:
            options[name] = value
        else:
            raise SettingError(SETTING, f"{name!r} is not an option")
        if names.count(name) > 1:
            raise SettingError(SETTING, f"{name} is given twice")
    if "ssl_keyfile" in options and "ssl_certfile" not in options:
        raise SettingError(SETTING, "ssl_keyfile needs ssl_certfile")
    return options


def _host(name: str) -> str:
    try:
        name.encode("idna")
    except UnicodeError:
        raise SettingError(SETTING, "the name of a host is not valid") from None
    if re.search(r"\s", name):
        raise SettingError(SETTING, "the name of a host is not valid")
    return name


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError:  # when it encodes or when it decodes
        raise _misread() from None


def _misread() -> SettingError:
    return SettingError(
        SETTING, "special characters of a name or a password must be percent-encoded, as UTF-8"
    )

"""The parameters of a `database_url`: all of libpq's, and whether each is supported, ignored or refused.

`realtime.settings.database_url` uses these tables; `docs/operations.md` documents them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

VERIFYING = ("verify-ca", "verify-full")
_MODES = ("disable", "allow", "prefer", "require", *VERIFYING)
_TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_TARGETS = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
_NUMBER = re.compile("-?[0-9]{1,9}")

ENCODING_HINT = "cannot be understood; in a name or a password # is %23, / is %2F, ? is %3F and @ is %40"

# The accepted values of a parameter; None means any value.
Values = tuple[str, ...] | None

CARRIED_OUT: Mapping[str, Values] = {
    "host": None,
    "port": None,
    "dbname": None,
    "user": None,
    "password": None,
    "passfile": None,
    "connect_timeout": None,
    "options": None,
    "target_session_attrs": _TARGETS,
    "load_balance_hosts": ("disable", "random"),
    "sslmode": _MODES,
    "sslnegotiation": ("postgres", "direct"),
    "sslcert": None,
    "sslkey": None,
    "sslpassword": None,
    "sslrootcert": None,
    "sslcrl": None,
    "ssl_min_protocol_version": _TLS_VERSIONS,
    "ssl_max_protocol_version": _TLS_VERSIONS,
    "krbsrvname": None,
    "gsslib": ("gssapi",),
}

# Parameters that ask for what is true anyway, or tune what our timeouts of statements and attempts bound.
WITHOUT_EFFECT: Mapping[str, Values] = {
    "application_name": None,
    "fallback_application_name": None,
    "channel_binding": ("disable", "prefer"),
    "client_encoding": ("UTF8", "utf8", "UTF-8", "utf-8", "auto"),
    "gssdelegation": ("0",),
    "gssencmode": ("disable", "prefer"),
    "keepalives": None,
    "keepalives_count": None,
    "keepalives_idle": None,
    "keepalives_interval": None,
    "max_protocol_version": None,
    "min_protocol_version": ("3.0",),
    "replication": ("false", "off", "no", "0"),
    "sslcertmode": ("allow",),
    "sslcompression": None,
    "sslsni": ("1",),
    "tcp_user_timeout": None,
}

_REFUSED: Mapping[str, str] = {
    "channel_binding": "the driver knows no channel binding; leave it out, and let sslmode=verify-full"
    " (with sslrootcert=system for a public authority) show that it is the right server",
    "hostaddr": "not supported; give the address as host",
    "min_protocol_version": "the driver speaks 3.0",
    "require_auth": "the driver cannot insist on a method; leave it out",
    "requirepeer": "not supported; leave it out",
    "service": "service files are not read; give host, user and database here",
    "servicefile": "service files are not read; give host, user and database here",
    "sslcrldir": "not supported; give a file as sslcrl",
    "gssencmode": "the driver cannot encrypt by GSSAPI; use TLS",
    "sslsni": "the driver always tells the server's name",
}
_UNKNOWN = (
    "unknown parameter; what a pool or another driver is told does not belong here, and a setting of the"
    " server stands in options, as in options=-c%20statement_timeout%3D5000"
)


def _ssl(value: str) -> tuple[str, str]:
    """`ssl=true`, which JDBC URLs contain and libpq accepts."""
    return ("sslmode", "require") if value == "true" else ("ssl", value)


def _requiressl(value: str) -> tuple[str, str]:
    """The parameter that libpq had before sslmode."""
    return ("sslmode", {"0": "prefer", "1": "require"}.get(value, value))


SAME_AS: Mapping[str, Callable[[str], tuple[str, str]]] = {
    "database": lambda value: ("dbname", value),
    "ssl": _ssl,
    "requiressl": _requiressl,
}


def check_parameter(name: str, value: str) -> str | None:
    """Return why a parameter is refused, or None if it is accepted."""
    if name not in CARRIED_OUT and name not in WITHOUT_EFFECT:
        return _REFUSED.get(name, _UNKNOWN)
    values = CARRIED_OUT.get(name, WITHOUT_EFFECT.get(name))
    if values is not None and value not in values:
        return _REFUSED.get(name) or f"expected {' or '.join(values)}"
    if name == "connect_timeout" and not _NUMBER.fullmatch(value):
        return "expected seconds, as a whole number"
    return None

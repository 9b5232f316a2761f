"""TLS as a `database_url` configures it: the files that the URL names, and an SSL context made from them.

The files are checked when a process starts or reloads, so that a wrong file is reported as a wrong setting.
`realtime.postgres.connector` asks for the context; this module opens no connection.
"""

from __future__ import annotations

import getpass
import ssl
from collections.abc import Iterator

from realtime.errors import SettingError
from realtime.settings.database_parameters import VERIFYING
from realtime.settings.database_url import DatabaseUrl
from realtime.settings.tls_files import why_no_authorities, why_no_certificate, why_unreadable

SYSTEM = "system"  # value of sslrootcert: the authorities that this machine trusts
ALPN = ["postgresql"]  # a server requires it for sslnegotiation=direct


def context_of(url: DatabaseUrl) -> ssl.SSLContext:
    """Return the context for sslmode `require` or stricter; raises OSError or ValueError for wrong files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = url.sslmode == "verify-full"
    if url.sslmode not in VERIFYING and "sslrootcert" not in url.tls:
        context.verify_mode = ssl.CERT_NONE
    for load in (_load_authorities, _load_revoked, _load_own):
        load(context, url)
    context.minimum_version = _version(url.tls.get("ssl_min_protocol_version", "TLSv1.2"))
    if "ssl_max_protocol_version" in url.tls:
        context.maximum_version = _version(url.tls["ssl_max_protocol_version"])
    context.set_alpn_protocols(ALPN)
    return context


def _version(name: str) -> ssl.TLSVersion:
    return ssl.TLSVersion[name.replace(".", "_")]


def _load_authorities(context: ssl.SSLContext, url: DatabaseUrl) -> None:
    path = url.tls.get("sslrootcert")
    if path == SYSTEM:
        context.load_default_certs()
    elif path is not None:
        context.load_verify_locations(cafile=path)


def _load_revoked(context: ssl.SSLContext, url: DatabaseUrl) -> None:
    if path := url.tls.get("sslcrl"):
        context.load_verify_locations(cafile=path)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def _load_own(context: ssl.SSLContext, url: DatabaseUrl) -> None:
    if path := url.tls.get("sslcert"):
        # Without a password OpenSSL would prompt for one on the terminal.
        password = url.tls.get("sslpassword", "")
        context.load_cert_chain(path, url.tls.get("sslkey"), password=lambda: password)


def check_url(url: DatabaseUrl, setting: str) -> None:
    """Check the files and the user name that the URL takes from this machine; raises SettingError."""
    if url.sslmode in VERIFYING and "sslrootcert" not in url.tls:
        raise SettingError(setting, f"sslrootcert: missing for sslmode={url.sslmode}; a file, or system")
    for name, reason in _wrong_files(url):
        if reason is not None:
            raise SettingError(setting, f"{name}: {reason}")
    if url.user is None:
        os_user(setting)


def _wrong_files(url: DatabaseUrl) -> Iterator[tuple[str, str | None]]:
    for name in ("sslrootcert", "sslcrl"):
        if (path := url.tls.get(name)) and path != SYSTEM:
            yield name, why_no_authorities(path)
    if path := url.tls.get("sslcert"):
        yield "sslcert", why_no_certificate(path, url.tls.get("sslkey"), url.tls.get("sslpassword", ""))
    if path := url.more.get("passfile"):
        reason = why_unreadable(path)
        yield "passfile", reason and f"{path}: {reason}"


def os_user(setting: str) -> str:
    """Return the operating system user of this process: the default user of a URL that names none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        raise SettingError(setting, "no user; and the operating system knows no name for ours") from None

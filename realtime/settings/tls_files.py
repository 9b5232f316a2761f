"""Check the certificate files that settings name: whether each is readable and has the expected content.

The Postgres and Redis clients ask when a process starts or reloads. A reason never quotes a file's content.
"""

from __future__ import annotations

import ssl
from pathlib import Path


def why_no_authorities(path: str) -> str | None:
    """Return what is wrong with a file of trusted certificates, or None."""
    if reason := why_unreadable(path):
        return f"{path}: {reason}"
    try:
        _context().load_verify_locations(cafile=path)
    except (OSError, ValueError):
        return f"{path}: no certificates in PEM"
    return None


def why_no_certificate(path: str, key: str | None, password: str) -> str | None:
    """Return what is wrong with a client certificate and its key, or None."""
    for one in filter(None, (path, key)):
        if reason := why_unreadable(one):
            return f"{one}: {reason}"
    try:
        _context().load_cert_chain(path, key, password=lambda: password)
    except (OSError, ValueError) as error:
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            return f"{path}: the key belongs to another certificate"
        return f"{path}: no certificate and key in PEM, or the key has another password"
    return None


def why_unreadable(path: str) -> str | None:
    """Return why a file cannot be read, or None."""
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as error:
        return error.strerror or "cannot be read"
    except ValueError:
        return "not a path"
    return None


def _context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

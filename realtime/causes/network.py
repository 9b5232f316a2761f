"""Causes from errors of the operating system and OpenSSL. Quotes only OpenSSL's reasons."""

from __future__ import annotations

import errno
import re
import ssl

from realtime.causes.kinds import Cause, Finding, quoted

_ERRNO = {
    errno.ECONNREFUSED: Cause.REFUSED,
    errno.EHOSTUNREACH: Cause.UNREACHABLE,
    errno.ENETUNREACH: Cause.UNREACHABLE,
    errno.EHOSTDOWN: Cause.UNREACHABLE,
    errno.ENETDOWN: Cause.UNREACHABLE,
    errno.EADDRNOTAVAIL: Cause.UNREACHABLE,
    errno.ETIMEDOUT: Cause.TIMEOUT,
    errno.ENOENT: Cause.NO_SOCKET,
    errno.ENOTDIR: Cause.NO_SOCKET,
    errno.EACCES: Cause.FORBIDDEN,
    errno.EPERM: Cause.FORBIDDEN,
    errno.ECONNRESET: Cause.LOST,
    errno.ECONNABORTED: Cause.LOST,
    errno.EPIPE: Cause.LOST,
}
_ERRNO_IN_TEXT = re.compile(r"\[Errno (\d+)\]")  # asyncio reports the errors of several addresses in one text


def by_errno(error: OSError) -> Finding:
    text = str(error)
    if "SSL handshake is taking longer" in text or "rejected SSL upgrade" in text:
        return Finding(Cause.NO_TLS)
    numbers = [error.errno] if error.errno is not None else map(int, _ERRNO_IN_TEXT.findall(text))
    causes = [_ERRNO[number] for number in numbers if number in _ERRNO]
    if causes:
        return Finding(causes[-1])
    if isinstance(error, ConnectionError):
        return Finding(Cause.LOST)
    number = error.errno if isinstance(error.errno, int) else 0
    return Finding(Cause.OTHER, errno.errorcode.get(number, type(error).__name__))


# TLS

_EXPIRED = (9, 10)  # OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED
_OTHER_HOST = (62, 64)  # _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE", "RECORD_LAYER_FAILURE")
_CLIENT = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "UNKNOWN_CA", "CERTIFICATE_UNKNOWN")


def by_tls(error: ssl.SSLError) -> Finding:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = quoted(str(getattr(error, "verify_message", "")))
        code = getattr(error, "verify_code", 0)
        if code in _OTHER_HOST:
            return Finding(Cause.OTHER_HOST, reason)
        return Finding(Cause.EXPIRED if code in _EXPIRED else Cause.UNTRUSTED, reason)
    reason = str(getattr(error, "reason", None) or "")
    if reason in _NO_TLS:
        return Finding(Cause.NO_TLS)
    if reason.endswith(_CLIENT):  # TLSV13_ALERT_…, SSLV3_ALERT_…: the server's alert about our certificate
        return Finding(Cause.CLIENT_CERTIFICATE)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Finding(Cause.LOST)
    return Finding(Cause.TLS, quoted(reason.lower().replace("_", " ")))

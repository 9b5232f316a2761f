"""A certificate authority that lives as long as a test.

Asked by `tls.py` for what a server and a client show each other. Writes no file.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

VALID = timedelta(days=1)
CLOCK_SKEW = timedelta(hours=1)


class Authority:
    """Certifies who is asked for; `certificate` is its own, in PEM."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("authority of a test")
        own = _draft(self._name, self._name, self._key.public_key())
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.certificate = self._sign(own)

    def certify(self, name: str, valid: timedelta = VALID) -> tuple[str, str]:
        """Return certificate and private key, in PEM, of one that may be reached at 127.0.0.1.

        It is valid for that long, from an hour ago on; a negative time ended before now.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        addresses = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        draft = _draft(_named(name), self._name, key.public_key(), valid)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self._sign(draft.add_extension(addresses, critical=False)), private.decode()

    def _sign(self, draft: x509.CertificateBuilder) -> str:
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        signed = draft.add_extension(authority, critical=False).sign(self._key, hashes.SHA256())
        return signed.public_bytes(Encoding.PEM).decode()


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _draft(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, valid: timedelta = VALID
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + valid)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )

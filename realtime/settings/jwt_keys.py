"""Keys that may verify a token: their file formats, and the one algorithm that fits each kind of key.

`realtime.settings.config` checks keys at the start; `realtime.auth.tokens` and `gateway.projects.jwks` load
them. This module never reads a token, and never accepts a private key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

HMAC_ALGORITHM = "HS256"
ALGORITHMS = ("RS256", "ES256", "EdDSA")
MIN_RSA_BITS = 2048
_HMAC_BLOCK_BYTES = 64  # of SHA-256

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
KeySet = Mapping[tuple[str | None, str], str | PublicKey]
"""A secret or public key by key id and algorithm: keys of different kinds may share an id in a JWKS."""


def check_secret(secret: str) -> None:
    """Raise ValueError if `secret` is a key, a certificate or a JWK; this does not check its length."""
    try:
        jwt.get_algorithm_by_name(HMAC_ALGORITHM).prepare_key(secret)
    except UnicodeEncodeError:
        raise ValueError("not valid Unicode") from None
    except jwt.InvalidKeyError:
        raise ValueError("this is a key, a certificate or a JWK, not a shared secret") from None


def algorithms_of_public_key(pem: str) -> tuple[str, ...]:
    """Return the algorithms that a PEM public key can verify; ValueError says why it can verify none."""
    return (algorithm_of(public_key(pem)),)


def public_key(pem: str) -> PublicKey:
    """Return the RSA, EC P-256 or Ed25519 public key in `pem`; ValueError says what `pem` is instead."""
    if "PRIVATE KEY-----" in pem:
        raise ValueError("this is a private key; give the public key that belongs to it")
    if "-----BEGIN CERTIFICATE-----" in pem:
        raise ValueError("this is a certificate; give its public key (openssl x509 -pubkey -noout)")
    try:
        key = load_pem_public_key(pem.encode(errors="replace"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("not a PEM public key (-----BEGIN PUBLIC KEY-----)") from error
    return fit_to_check(key)


def same_key(secret: str | None, pem: str | None, jwks_url: str | None) -> str:
    """Return a text that is equal for equal keys, whatever their spelling, and does not reveal the key."""
    if secret is not None:
        key = secret.encode()
        if len(key) > _HMAC_BLOCK_BYTES:  # HMAC hashes a longer key, and pads a shorter key with zero bytes
            key = hashlib.sha256(key).digest()
        return f"secret {hashlib.sha256(key.rstrip(bytes(1))).hexdigest()}"
    if pem is not None:
        der = public_key(pem).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return f"public key {hashlib.sha256(der).hexdigest()}"
    return f"URL {_same_url(str(jwks_url))}"


def _same_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return url
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    host = (parts.hostname or "").rstrip(".")
    return f"{parts.scheme}://{host}:{port or usual}{parts.path or '/'}?{parts.query}"


def fit_to_check(key: object) -> PublicKey:
    """Return `key` if its kind and strength are accepted; raise ValueError otherwise."""
    match key:
        case RSAPublicKey() if key.key_size < MIN_RSA_BITS:
            raise ValueError(f"RSA keys need at least {MIN_RSA_BITS} bits, this one has {key.key_size}")
        case EllipticCurvePublicKey() if not isinstance(key.curve, SECP256R1):
            raise ValueError(f"of the EC curves only P-256 is supported, not {key.curve.name}")
        case RSAPublicKey() | EllipticCurvePublicKey() | Ed25519PublicKey():
            return key
    raise ValueError("only RSA, EC P-256 and Ed25519 public keys are supported")


def algorithm_of(key: PublicKey) -> str:
    """Return the only algorithm that a token for `key` may name."""
    match key:
        case RSAPublicKey():
            return "RS256"
        case EllipticCurvePublicKey():
            return "ES256"
        case Ed25519PublicKey():
            return "EdDSA"


def keys_of_jwks(document: bytes) -> KeySet:
    """Return the keys of a JWKS (RFC 7517) that can verify a token; ValueError if it is not a JWKS.

    Encryption keys, symmetric keys and keys of other kinds are for other services, and are skipped.
    """
    try:
        entries = msgspec.json.decode(document, type=_Jwks).keys
    except (ValueError, RecursionError) as error:
        raise ValueError("not a JWKS") from error
    keys: dict[tuple[str | None, str], str | PublicKey] = {}
    for entry in entries:
        key = _key_of_jwk(entry)
        if key is not None:
            kid = entry.get("kid")
            keys[kid if isinstance(kid, str) else None, algorithm_of(key)] = key
    return keys


class _Jwks(msgspec.Struct):
    keys: list[dict[str, Any]]


_ALGORITHM_OF_KIND = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}


def _key_of_jwk(jwk: dict[str, Any]) -> PublicKey | None:
    algorithm = _ALGORITHM_OF_KIND.get(str(jwk.get("kty")))
    operations = jwk.get("key_ops", ["verify"])
    if (
        algorithm is None
        or jwk.get("alg", algorithm) != algorithm
        or jwk.get("use", "sig") != "sig"
        or not (isinstance(operations, list) and "verify" in operations)
    ):
        return None
    try:
        return fit_to_check(jwt.PyJWK(jwk, algorithm).key)
    except (jwt.PyJWTError, ValueError, UnsupportedAlgorithm):
        return None

"""Verify a token's signature, times and claims with a project's keys, and return its user's identity.

The gateway passes tokens through `gateway.projects.jwks`; an `Identity` goes to the session and the REST
handlers. `issue` makes tokens for `realtime token`. This module fetches no key, and never quotes a token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
import msgspec

from realtime.clean_text import is_clean
from realtime.errors import ClientError, Code
from realtime.settings.config import Project
from realtime.settings.jwt_keys import (
    ALGORITHMS,
    HMAC_ALGORITHM,
    KeySet,
    PublicKey,
    algorithm_of,
    public_key,
    same_key,
)

LEEWAY_SECONDS = 5
MAX_TOKEN_BYTES = 8_192
SERVICE_ROLE = "service_role"
DEFAULT_ROLE = "authenticated"
LATEST_EXPIRY = 253_402_300_799  # the end of the year 9999, the last year of an RFC 3339 time

# Accepts no other algorithm, in particular not `none`, whatever the project's settings say.
_JWS = jwt.PyJWS(algorithms=(HMAC_ALGORITHM, *ALGORITHMS))


@dataclass(frozen=True, slots=True)
class Identity:
    """The user of a valid token, and when it expires (`expires_at` in seconds since 1970, without leeway)."""

    user_id: str | None
    role: str
    expires_at: float
    claims: Mapping[str, Any] = field(repr=False)

    @property
    def is_service(self) -> bool:
        """Whether this token may administer its project."""
        return self.role == SERVICE_ROLE


@dataclass(frozen=True, slots=True)
class VerificationKeys:
    """The keys and rules that verify a project's tokens.

    With `by_id` the keys come from a JWKS, and a token's `kid` selects one. Without it there is one key, and
    a `kid` is ignored.
    """

    algorithms: tuple[str, ...]
    keys: KeySet = field(repr=False)
    by_id: bool = False
    audience: str | None = None
    issuer: str | None = None
    max_token_seconds: float = 0  # 0 means no bound

    @classmethod
    def of(cls, project: Project) -> VerificationKeys:
        """Return the keys in the settings; a project with a JWKS has no keys yet."""
        keys: KeySet = {}
        if project.jwt_secret is not None:
            keys = {(None, HMAC_ALGORITHM): project.jwt_secret}
        elif project.jwt_public_key is not None:
            key = public_key(project.jwt_public_key)
            keys = {(None, algorithm_of(key)): key}
        known = tuple(algorithm for _, algorithm in keys) or ALGORITHMS
        return cls(
            algorithms=tuple(project.jwt_algorithms) or known,
            keys=keys,
            by_id=project.jwks_url is not None,
            audience=project.jwt_audience,
            issuer=project.jwt_issuer,
            max_token_seconds=project.max_token_seconds,
        )


class UnknownKey(ClientError):
    """A token names a key that is not among the project's keys; a newer JWKS may contain the key."""

    def __init__(self) -> None:
        super().__init__(Code.UNAUTHORIZED, "the token is signed with a key that this project does not have")


def verify(token: str, project_id: str, keys: VerificationKeys, now: float) -> Identity:
    """Return the identity that `token` proves in this project; `now` is in seconds since 1970.

    Raises ClientError: `token_expired` if the token is only too old, otherwise `unauthorized`; the subclass
    UnknownKey if the JWKS does not contain the token's key.
    """
    payload = _signed_payload(token, keys)
    try:
        claims = msgspec.json.decode(payload, type=dict[str, Any])
        registered = msgspec.convert(claims, _Registered)
    except msgspec.ValidationError as error:
        raise _unauthorized(f"the token's claims are wrong: {error}") from None
    except (ValueError, RecursionError):
        raise _unauthorized("the token's claims are not a JSON object") from None
    _check_names(registered)
    _check_addressee(registered, project_id, keys)
    _check_times(registered, now)
    if keys.max_token_seconds:
        _check_lifetime(registered, keys.max_token_seconds, now)
    return Identity(
        user_id=registered.sub,
        role=DEFAULT_ROLE if registered.role is None else registered.role,
        expires_at=registered.exp,
        claims=claims,
    )


class _Registered(msgspec.Struct):
    """The claims that this service reads; `iat` only if the project bounds the lifetime of a token."""

    exp: float
    iat: Any = None
    nbf: float | None = None
    sub: str | None = None
    role: str | None = None
    project_id: Any = msgspec.UNSET
    aud: Any = None
    iss: Any = None


def _signed_payload(token: str, keys: VerificationKeys) -> bytes:
    if len(token) > MAX_TOKEN_BYTES:
        raise _unauthorized(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
    if not token.isascii():
        raise _unauthorized("the token is not a JWT")
    try:
        header = _JWS.get_unverified_header(token)
        algorithm = _pinned(header.get("alg"), keys)
        key = _key(header.get("kid") if keys.by_id else None, algorithm, keys)
        payload: bytes = _JWS.decode_complete(token, key, [algorithm])["payload"]
    except jwt.InvalidSignatureError:
        raise _unauthorized("the token's signature does not fit the project's key") from None
    except (jwt.PyJWTError, ValueError, RecursionError):
        # Without the cause and its text, since the text quotes the token.
        raise _unauthorized("the token is not a JWT") from None
    return payload


def _pinned(algorithm: object, keys: VerificationKeys) -> str:
    if not isinstance(algorithm, str) or algorithm not in keys.algorithms:
        raise _unauthorized(f"the token's alg is not what the project expects: {', '.join(keys.algorithms)}")
    return algorithm


def _key(kid: str | None, algorithm: str, keys: VerificationKeys) -> str | PublicKey:
    """Return the key for a token; a token without `kid` gets the only key that fits its algorithm."""
    if kid is None:
        fitting = [key for (_, fits), key in keys.keys.items() if fits == algorithm]
        if len(fitting) > 1:
            raise _unauthorized("the token needs a kid, since the project has several keys")
        if fitting:
            return fitting[0]
    key = keys.keys.get((kid, algorithm))
    if key is None:
        raise UnknownKey
    return key


def _check_names(claims: _Registered) -> None:
    """Refuse unclean `sub` and `role`: cleaning would change the identity that Redis and JSON carry."""
    for name, claim in (("sub", claims.sub), ("role", claims.role)):
        if claim is not None and not is_clean(claim):
            raise _unauthorized(f"the token's {name} has control characters")


def _check_addressee(claims: _Registered, project_id: str, keys: VerificationKeys) -> None:
    if claims.project_id is not msgspec.UNSET and claims.project_id != project_id:
        raise _unauthorized("the token is for another project")
    if keys.issuer is not None and claims.iss != keys.issuer:
        raise _unauthorized("the token's iss is not what the project expects")
    audiences = claims.aud if isinstance(claims.aud, list) else [claims.aud]
    if keys.audience is not None and keys.audience not in audiences:
        raise _unauthorized("the token's aud is not what the project expects")


def _check_times(claims: _Registered, now: float) -> None:
    if claims.exp > LATEST_EXPIRY:
        raise _unauthorized("the token's exp lies beyond the year 9999; it is counted in seconds since 1970")
    if claims.nbf is not None and claims.nbf > now + LEEWAY_SECONDS:
        raise _unauthorized("the token is not valid yet (nbf)")
    if claims.exp <= now - LEEWAY_SECONDS:
        raise ClientError(Code.TOKEN_EXPIRED, "the token has expired")


def _check_lifetime(claims: _Registered, max_seconds: float, now: float) -> None:
    """Refuse a token that is valid for longer than the project allows, from now or from its `iat`."""
    if claims.exp > now + max_seconds + LEEWAY_SECONDS:
        raise _unauthorized(f"the token's exp lies more than {max_seconds:g} seconds ahead")
    if claims.iat is None:
        return
    if claims.exp - _seconds(claims.iat) > max_seconds + LEEWAY_SECONDS:
        raise _unauthorized(f"the token's exp lies more than {max_seconds:g} seconds after its iat")


def _seconds(issued_at: object) -> float:
    try:
        if isinstance(issued_at, int | float) and not isinstance(issued_at, bool):
            return float(issued_at)
    except OverflowError:  # an integer with hundreds of digits
        pass
    raise _unauthorized("the token's iat is no number of seconds")


def _unauthorized(reason: str) -> ClientError:
    return ClientError(Code.UNAUTHORIZED, reason)


def issue(
    secret: str,
    project_id: str,
    sub: str | None,
    role: str,
    ttl_seconds: float,
    now: float,
    *,
    audience: str | None = None,
    issuer: str | None = None,
) -> str:
    """Return an HS256 token that `verify` accepts from `now` on, for `ttl_seconds`."""
    claims = {
        "sub": sub,
        "role": role,
        "project_id": project_id,
        "iat": int(now),
        "exp": math.ceil(now + ttl_seconds),
        "aud": audience,
        "iss": issuer,
    }
    given = {name: value for name, value in claims.items() if value is not None}
    return _JWS.encode(msgspec.json.encode(given), secret, HMAC_ALGORITHM)


def projects_with_one_key(projects: Mapping[str, Project]) -> list[list[str]]:
    """Return the groups of projects that accept each other's tokens, if the tokens have no `project_id`.

    Projects of a group have the same key, however it is spelled, and `aud`, `iss` and the algorithms do not
    distinguish their tokens.
    """
    by_key: dict[str, list[str]] = {}
    for project_id, project in sorted(projects.items()):
        key = same_key(project.jwt_secret, project.jwt_public_key, project.jwks_url)
        by_key.setdefault(key, []).append(project_id)
    groups = [
        [one for one in group if any(_mix(projects[one], projects[other]) for other in group if other != one)]
        for group in by_key.values()
    ]
    return [group for group in groups if group]


def _mix(one: Project, other: Project) -> bool:
    """Whether a token of one project may be accepted by another project with the same key."""
    every = (HMAC_ALGORITHM, *ALGORITHMS)
    if not set(one.jwt_algorithms or every) & set(other.jwt_algorithms or every):
        return False
    expected = [(one.jwt_audience, other.jwt_audience), (one.jwt_issuer, other.jwt_issuer)]
    return not any(mine and its and mine != its for mine, its in expected)

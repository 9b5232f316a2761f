"""Every way in which a token may be wrong, and those that are right.

Long, since it is that list.
"""

import base64
import contextlib
import json
import random
from datetime import UTC, datetime
from itertools import count
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from realtime.auth.tokens import LATEST_EXPIRY, UnknownKey, VerificationKeys, issue, verify
from realtime.errors import ClientError, Code
from realtime.settings.config import Project

NOW = 1_700_000_000.0
SECRET = "a secret of more than thirty-two bytes"
RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()


def pem(private_key) -> str:
    return private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def keys_of(**settings) -> VerificationKeys:
    return VerificationKeys.of(Project(database_url="postgresql://", **settings))


BY_SECRET = keys_of(jwt_secret=SECRET)
BY_KEY: dict[str, tuple[Any, Any]] = {
    "RS256": (RSA, keys_of(jwt_public_key=pem(RSA))),
    "ES256": (P256, keys_of(jwt_public_key=pem(P256))),
    "EdDSA": (ED25519, keys_of(jwt_public_key=pem(ED25519))),
}
BY_ID = VerificationKeys(
    algorithms=("RS256", "ES256"),
    by_id=True,
    keys={("a", "RS256"): RSA.public_key(), ("b", "ES256"): P256.public_key()},
)


def encoded(part) -> bytes:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def signed(header, payload, secret: bytes = SECRET.encode()) -> str:
    """A token of any shape with a true HMAC: what only the holder of the secret could send."""
    text = encoded(header) + b"." + encoded(payload)
    mac = HMAC(secret, SHA256())
    mac.update(text)
    return (text + b"." + encoded(mac.finalize())).decode()


def token(**claims) -> str:
    return signed({"alg": "HS256"}, {"exp": NOW + 60} | claims)


def identity(text: str, keys: VerificationKeys = BY_SECRET, now: float = NOW):
    return verify(text, "demo", keys, now)


def refusal(text: str, keys: VerificationKeys = BY_SECRET, now: float = NOW) -> ClientError:
    with pytest.raises(ClientError) as caught:
        verify(text, "demo", keys, now)
    assert not text or text not in str(caught.value)
    return caught.value


def is_unauthorized(text: str, keys: VerificationKeys = BY_SECRET) -> bool:
    return refusal(text, keys).code is Code.UNAUTHORIZED


# What a good token says


def test_an_issued_token_speaks_for_its_user():
    alice = identity(issue(SECRET, "demo", "alice", "editor", 60, NOW))
    assert (alice.user_id, alice.role, alice.expires_at) == ("alice", "editor", NOW + 60)
    assert alice.claims["project_id"] == "demo"
    assert not alice.is_service


def test_an_issued_token_meets_the_audience_and_issuer_of_the_project():
    keys = keys_of(jwt_secret=SECRET, jwt_audience="app", jwt_issuer="me")
    assert (
        identity(issue(SECRET, "demo", None, "x", 60, NOW, audience="app", issuer="me"), keys).user_id is None
    )


@pytest.mark.parametrize("claim", ["sub", "role"])
@pytest.mark.parametrize("value", ["a\0b", "\n", "alice\x1b[31m", "\x9b31m", "\x7f"])
def test_a_name_with_control_characters_is_nobodys(claim, value):
    assert claim in refusal(token(**{claim: value})).message


@pytest.mark.parametrize("sub", ["Zoë", "👩\u200d🚀", "a b", "auth0|5f7c", "user@example.com", " "])
def test_any_other_name_is_taken_as_it_is(sub):
    assert identity(token(sub=sub)).user_id == sub


def test_a_token_without_sub_and_role_is_of_an_authenticated_nobody():
    nobody = identity(token())
    assert (nobody.user_id, nobody.role) == (None, "authenticated")
    assert identity(token(sub=None, role=None, nbf=None)) == identity(token(sub=None, role=None, nbf=None))


def test_only_the_exact_service_role_administers():
    assert identity(token(role="service_role")).is_service
    assert not any(identity(token(role=role)).is_service for role in ("Service_Role", "service_role ", ""))


def test_other_claims_are_handed_on_as_they_are():
    claims = {"channels": {"room:*": ["subscribe"]}, "org": {"ids": [1, 10**18]}, "name": "Zoë"}
    assert claims.items() <= identity(token(**claims)).claims.items()


def test_an_identity_does_not_print_its_claims():
    assert "hush" not in repr(identity(token(email="hush@example.com")))


@pytest.mark.parametrize("algorithm", BY_KEY)
def test_a_public_key_checks_tokens_of_its_private_key(algorithm):
    private, keys = BY_KEY[algorithm]
    text = jwt.encode({"exp": NOW + 60, "sub": "alice"}, private, algorithm, headers={"kid": "whatever"})
    assert identity(text, keys).user_id == "alice"


# Keys and algorithms


@pytest.mark.parametrize("signature", [b"", b"AAAA"])
@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 0, [], ["HS256"], {}, True])
def test_an_unsigned_token_is_refused(algorithm, signature):
    text = b".".join([encoded({"alg": algorithm}), encoded({"exp": NOW + 60}), signature]).decode()
    assert all(is_unauthorized(text, keys) for keys in (BY_SECRET, BY_KEY["RS256"][1], BY_ID))


@pytest.mark.parametrize("algorithm", BY_KEY)
def test_a_token_signed_with_the_public_key_as_if_it_were_a_secret_is_refused(algorithm):
    private, keys = BY_KEY[algorithm]
    for secret in (pem(private), pem(private).strip(), pem(private).replace("\n", "\r\n")):
        assert is_unauthorized(signed({"alg": "HS256"}, {"exp": NOW + 60}, secret.encode()), keys)
        assert is_unauthorized(signed({"alg": algorithm}, {"exp": NOW + 60}, secret.encode()), keys)


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_the_secret_serves_for_no_other_algorithm(algorithm):
    assert is_unauthorized(
        jwt.encode({"exp": NOW + 60}, SECRET * 2, algorithm), keys_of(jwt_secret=SECRET * 2)
    )


def test_a_key_serves_for_no_other_algorithm():
    claims = {"exp": NOW + 60}
    assert is_unauthorized(jwt.encode(claims, RSA, "PS256"), BY_KEY["RS256"][1])
    assert is_unauthorized(jwt.encode(claims, RSA, "RS512"), BY_KEY["RS256"][1])
    assert is_unauthorized(jwt.encode(claims, ed448.Ed448PrivateKey.generate(), "EdDSA"), BY_KEY["EdDSA"][1])


def test_the_project_may_pin_fewer_algorithms_than_its_keys_could_check():
    pinned = keys_of(jwks_url="https://example.com", jwt_algorithms=["ES256"])
    assert pinned.algorithms == ("ES256",)
    assert "ES256" in refusal(jwt.encode({"exp": NOW + 60}, RSA, "RS256"), pinned).message


@pytest.mark.parametrize("key", [RSA, P256, ED25519])
def test_another_key_of_the_same_kind_is_refused(key):
    algorithm = next(name for name, (private, _) in BY_KEY.items() if private is key)
    others: dict[Any, Any] = {
        RSA: rsa.generate_private_key(65537, 2048),
        P256: ec.generate_private_key(ec.SECP256R1()),
        ED25519: ed25519.Ed25519PrivateKey.generate(),
    }
    assert (
        "signature"
        in refusal(jwt.encode({"exp": NOW + 60}, others[key], algorithm), BY_KEY[algorithm][1]).message
    )


@pytest.mark.parametrize("length", [0, 1, 31, 33, 63, 65, 255, 257, 4_000])
def test_a_signature_of_any_wrong_length_is_refused(length):
    for algorithm, (_, keys) in BY_KEY.items():
        text = b".".join([encoded({"alg": algorithm}), encoded({"exp": NOW + 60}), encoded(b"\1" * length)])
        assert is_unauthorized(text.decode(), keys)


def test_a_changed_payload_is_refused():
    header, _, signature = token(sub="alice").split(".")
    assert is_unauthorized(f"{header}.{encoded({'exp': NOW + 60, 'sub': 'bob'}).decode()}.{signature}")


def test_the_kid_selects_the_key_of_a_jwks():
    assert identity(jwt.encode({"exp": NOW + 60}, RSA, "RS256", headers={"kid": "a"}), BY_ID)
    assert identity(jwt.encode({"exp": NOW + 60}, P256, "ES256", headers={"kid": "b"}), BY_ID)


@pytest.mark.parametrize(
    ("kid", "algorithm"), [("c", "RS256"), ("b", "RS256"), ("", "RS256"), ("a", "ES256")]
)
def test_an_unknown_kid_is_told_apart_so_that_newer_keys_can_be_had(kid, algorithm):
    text = jwt.encode({"exp": NOW + 60}, BY_KEY[algorithm][0], algorithm, headers={"kid": kid})
    assert isinstance(refusal(text, BY_ID), UnknownKey)


def test_without_a_kid_the_only_key_that_fits_is_taken():
    text = jwt.encode({"exp": NOW + 60}, RSA, "RS256")
    assert identity(text, BY_ID)
    two = VerificationKeys(("RS256",), {**BY_ID.keys, ("c", "RS256"): RSA.public_key()}, by_id=True)
    assert "kid" in refusal(text, two).message
    assert isinstance(refusal(text, VerificationKeys(("RS256",), {}, by_id=True)), UnknownKey)


def test_a_wrong_signature_under_a_known_kid_asks_for_no_newer_keys():
    text = jwt.encode({"exp": NOW + 60}, rsa.generate_private_key(65537, 2048), "RS256", headers={"kid": "a"})
    assert not isinstance(refusal(text, BY_ID), UnknownKey)


def test_keys_that_a_token_brings_along_mean_nothing():
    evil = ec.generate_private_key(ec.SECP256R1())
    brought = {
        "jwk": jwt.get_algorithm_by_name("ES256").to_jwk(evil.public_key(), as_dict=True),
        "jku": "https://evil.example/jwks.json",
        "x5u": "https://evil.example/cert.pem",
        "x5c": ["AAAA"],
    }
    assert is_unauthorized(jwt.encode({"exp": NOW + 60}, evil, "ES256", headers=brought), BY_KEY["ES256"][1])
    assert identity(jwt.encode({"exp": NOW + 60}, P256, "ES256", headers=brought), BY_KEY["ES256"][1])


# Times


@pytest.mark.parametrize("age", [-60, 0, 4.9])
def test_a_token_serves_until_five_seconds_after_its_exp(age):
    assert identity(token(exp=NOW - age)).expires_at == NOW - age


@pytest.mark.parametrize("age", [5, 6, 1e9, 1e300])
def test_an_older_token_has_expired(age):
    assert refusal(token(exp=NOW - age)).code is Code.TOKEN_EXPIRED


@pytest.mark.parametrize("wait", [-60, 0, 5])
def test_a_token_serves_from_five_seconds_before_its_nbf(wait):
    assert identity(token(nbf=NOW + wait))


@pytest.mark.parametrize("nbf", [NOW + 5.1, int(NOW) + 6, 1e300, 10**300])
def test_a_token_before_its_nbf_is_refused(nbf):
    assert "nbf" in refusal(token(nbf=nbf)).message


@pytest.mark.parametrize("issued", [NOW + 3_600, "yesterday", None, -1, [], True])
def test_iat_is_no_reason_to_refuse(issued):
    assert identity(token(iat=issued))


def test_a_token_without_exp_is_refused():
    assert "exp" in refusal(signed({"alg": "HS256"}, {"sub": "alice"})).message


def test_the_latest_exp_can_still_be_written_as_a_time():
    latest = identity(token(exp=LATEST_EXPIRY)).expires_at
    assert datetime.fromtimestamp(latest, UTC).year == 9999


@pytest.mark.parametrize("exp", [LATEST_EXPIRY + 1, NOW * 1_000, 10**30, 1e300])
def test_an_exp_that_is_no_time_in_seconds_is_refused_and_the_reason_named(exp):
    assert "seconds" in refusal(token(exp=exp)).message


NO_NUMBERS = ["1", "", True, [], {}, [NOW + 60]]


@pytest.mark.parametrize("value", [*NO_NUMBERS, None])
def test_an_exp_that_is_no_number_is_refused(value):
    assert "exp" in refusal(token(exp=value)).message


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_an_nbf_that_is_no_number_is_refused(value):
    assert "nbf" in refusal(token(nbf=value)).message


@pytest.mark.parametrize(
    "number", [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e999", b"1" + b"0" * 5_000]
)
@pytest.mark.parametrize("claim", [b"exp", b"nbf", b"other"])
def test_numbers_that_are_none_are_refused(claim, number):
    assert is_unauthorized(signed({"alg": "HS256"}, b'{"exp":1700000060,"' + claim + b'":' + number + b"}"))


# Whom it is for


def test_a_token_for_another_project_is_refused():
    assert identity(token(project_id="demo"))
    others: tuple[object, ...] = ("Demo", "demo ", "", None, 5, ["demo"], {}, True)
    for other in others:
        assert "another project" in refusal(token(project_id=other)).message


def test_an_expired_token_for_another_project_is_not_worth_renewing():
    assert refusal(token(project_id="other", exp=0)).code is Code.UNAUTHORIZED


def test_audience_and_issuer_are_free_unless_configured():
    assert identity(token(aud="any", iss="any"))
    assert identity(token(aud=7, iss=[]))


@pytest.mark.parametrize("aud", ["app", ["app"], ["other", "app"], [1, "app"]])
def test_the_configured_audience_is_one_of_the_tokens(aud):
    assert identity(token(aud=aud), keys_of(jwt_secret=SECRET, jwt_audience="app"))


@pytest.mark.parametrize("aud", ["App", "application", [], None, 1, {"app": 1}, [["app"]], ["ap", "p"]])
def test_any_other_audience_is_refused(aud):
    keys = keys_of(jwt_secret=SECRET, jwt_audience="app")
    assert "aud" in refusal(token(aud=aud), keys).message
    assert "aud" in refusal(token(), keys).message


@pytest.mark.parametrize("iss", ["Me", "", None, 1, ["me"], {}])
def test_any_other_issuer_than_the_configured_is_refused(iss):
    keys = keys_of(jwt_secret=SECRET, jwt_issuer="me")
    assert identity(token(iss="me"), keys)
    assert "iss" in refusal(token(iss=iss), keys).message
    assert "iss" in refusal(token(), keys).message


@pytest.mark.parametrize("claim", ["sub", "role"])
@pytest.mark.parametrize("value", [5, 1.5, True, [], ["service_role"], {}])
def test_a_user_or_role_that_is_no_string_is_refused_and_named(claim, value):
    assert claim in refusal(token(**{claim: value})).message


# Wrong shapes


def test_of_a_claim_given_twice_the_last_counts():
    assert identity(signed({"alg": "HS256"}, b'{"exp":1,"exp":1700000060}')).expires_at == NOW + 60


NO_OBJECTS = [
    *(b"", b"null", b"[]", b'"exp"', b"5", b"{", b"{}x", b"\xff", b"\xef\xbb\xbf{}"),
    *(b'{"exp":1700000060,"sub":"\xff"}', b'{"exp":1700000060,"sub":"\xed\xa0\x80"}'),
    b'{"exp":1700000060,"sub":"\\ud800"}',
    *(b"[" * 5_000, b'{"a":' * 1_200, b'{"exp":1700000060,"a":' + b"[" * 2_500 + b"]" * 2_500 + b"}"),
]


@pytest.mark.parametrize("payload", NO_OBJECTS, ids=count())
def test_a_payload_that_is_no_json_object_is_refused_even_if_signed(payload):
    assert is_unauthorized(signed({"alg": "HS256"}, payload))


NO_HEADERS = [
    *(b"", b"null", b"[]", b'"HS256"', b"{", b"\xff", b"[" * 5_000, b'{"a":' * 1_200),
    b'{"alg":"HS256","a":1' + b"0" * 5_000 + b"}",
    *({}, {"alg": "HS256 "}, {"alg": "hs256"}, {"alg": "HS256", "kid": 5}, {"alg": "HS256", "kid": None}),
    *({"alg": "HS256", "crit": crit} for crit in ([], "exp", ["exp"], ["b64"], [5], None, {"b64": 1})),
    *({"alg": "HS256", "b64": False}, {"alg": "HS256", "b64": False, "crit": ["b64"]}),
    *(b'{"alg":"HS256","alg":"none"}', b'{"alg":"\\ud800"}', b'{"alg":"HS256","crit":["\\ud800"]}'),
]


@pytest.mark.parametrize("header", NO_HEADERS, ids=count())
def test_a_header_that_cannot_be_understood_is_refused_even_if_signed(header):
    assert is_unauthorized(signed(header, {"exp": NOW + 60}))


def test_headers_without_a_meaning_here_are_ignored():
    assert identity(
        signed({"alg": "HS256", "zip": "DEF", "typ": 5, "cty": [], "kid": "x"}, {"exp": NOW + 60})
    )


NO_TOKENS = [
    *("", ".", "..", "...", "....", "." * 8_000, "a.b.c", "é.é.é", "\ud800.\udfff.a", "\0.\0.\0"),
    *("a" * 8_192, "a" * 8_193, "e30.e30.", "e30.e30.e30", "Bearer " + token(), " " + token()),
    *(token() + more for more in (" ", "\n", ".", "A")),
    *(token().replace(".", ".\n", 1), token().rpartition(".")[0]),
]


@pytest.mark.parametrize("text", NO_TOKENS, ids=count())
def test_a_text_that_is_no_token_is_refused(text):
    assert is_unauthorized(text)
    assert is_unauthorized(text, BY_ID)


def test_an_oversized_token_is_refused_unread():
    assert "longer than 8192 bytes" in refusal(token(sub="a" * 8_000)).message


def test_random_changes_of_a_token_never_get_through_and_never_raise_anything_else():
    dice = random.Random(7)
    good = token(sub="alice", project_id="demo", nbf=NOW)
    alphabet = [*map(chr, range(256)), "\ud800", "\U0001f600", "=", ".", "{", "[", '"']
    for _ in range(2_000):
        changed = list(good)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(changed))
            changed[at : at + dice.randint(0, 3)] = dice.choices(alphabet, k=dice.randint(0, 3))
        text = "".join(changed)
        assert text == good or text.rstrip("=") == good or is_unauthorized(text)


def test_random_signed_claims_are_taken_or_refused_but_never_raise_anything_else():
    dice = random.Random(7)
    atoms: list[object] = [
        None,
        True,
        0,
        -1,
        2**63,
        2**64,
        1e308,
        "",
        "demo",
        "\ud800",
        "\0",
        [],
        {},
        [[]],
        {"": None},
        NOW + 60,
    ]
    names = ["exp", "nbf", "sub", "role", "project_id", "aud", "iss", "iat", "jti", "", "\ud800"]
    keys = keys_of(jwt_secret=SECRET, jwt_audience="demo")
    for _ in range(2_000):
        claims = {name: dice.choice(atoms) for name in dice.sample(names, dice.randint(0, 6))}
        text = signed({"alg": "HS256"}, claims)
        with contextlib.suppress(ClientError):
            assert verify(text, "demo", keys, NOW).claims["aud"] == "demo"


# How long a token may be good

HOUR = keys_of(jwt_secret=SECRET, max_token_seconds=3_600)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW + 3_600},
        {"exp": NOW + 3_605},
        {"exp": NOW + 3_600, "iat": NOW},
        {"exp": NOW + 3_600, "iat": NOW + 100},
        {"exp": NOW + 10, "iat": NOW - 3_590},
        {"exp": NOW + 10, "iat": None},
    ],
)
def test_a_token_for_as_long_as_the_project_allows_serves(claims):
    assert identity(token(**claims), HOUR).expires_at == claims["exp"]


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": NOW + 3_606}, "exp lies more than 3600 seconds ahead"),
        ({"exp": NOW + 1e9}, "exp lies more than 3600 seconds ahead"),
        ({"exp": NOW + 7_200, "iat": NOW + 7_000}, "ahead"),
        ({"exp": NOW + 10, "iat": NOW - 3_600}, "after its iat"),
        ({"exp": NOW + 10, "iat": 0}, "after its iat"),
        ({"exp": NOW + 10, "iat": -1e300}, "after its iat"),
        ({"exp": NOW + 10, "iat": "now"}, "iat is no number"),
        ({"exp": NOW + 10, "iat": True}, "iat is no number"),
        ({"exp": NOW + 10, "iat": [NOW]}, "iat is no number"),
        ({"exp": NOW + 10, "iat": 10**400}, "iat is no number"),
        ({"exp": NOW + 10, "iat": -(10**400)}, "iat is no number"),
    ],
)
def test_a_token_for_longer_than_the_project_allows_is_refused(claims, reason):
    error = refusal(token(**claims), HOUR)
    assert error.code is Code.UNAUTHORIZED
    assert reason in error.message


def test_a_token_that_ran_out_is_told_so_however_long_it_was_good():
    assert refusal(token(exp=NOW - 10, iat=0), HOUR).code is Code.TOKEN_EXPIRED


def test_without_a_bound_a_token_may_be_good_for_years():
    assert identity(token(exp=NOW + 1e9, iat="whenever"))

import json
from itertools import count

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from realtime.settings.jwt_keys import algorithms_of_public_key, check_secret, keys_of_jwks

RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()


def pem(private_key) -> str:
    return private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(private_key) -> str:
    return private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def jwk(private_key, **members) -> dict:
    algorithm = {RSA: "RS256", P256: "ES256", ED25519: "EdDSA"}[private_key]
    public = jwt.get_algorithm_by_name(algorithm).to_jwk(private_key.public_key(), as_dict=True)
    # An RSA key comes with key_ops; here each test says what it wants.
    return {name: value for name, value in public.items() if name != "key_ops"} | members


def jwks(*keys) -> bytes:
    return json.dumps({"keys": keys}).encode()


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (P256, "ES256"), (ED25519, "EdDSA")])
def test_each_kind_of_public_key_checks_one_algorithm(key, algorithm):
    assert algorithms_of_public_key(pem(key)) == (algorithm,)


def test_white_space_around_a_pem_is_allowed():
    assert algorithms_of_public_key("\n  \n" + pem(P256) + "\n\n") == ("ES256",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (private_pem(RSA), "private key"),
        (private_pem(ED25519), "private key"),
        (
            P256.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode(),
            "private",
        ),
        (pem(rsa.generate_private_key(65537, 1024)), "at least 2048 bits"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "P-256"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "P-256"),
        (pem(ed448.Ed448PrivateKey.generate()), "Ed25519"),
        (pem(dsa.generate_private_key(2048)), "only RSA"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "certificate"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "not a PEM public key"),
        ("ssh-ed25519 AAAA", "not a PEM public key"),
        ("", "not a PEM public key"),
        ("\udcff", "not a PEM public key"),
        ("\0", "not a PEM public key"),
    ],
    ids=count(),
)
def test_anything_else_is_refused_with_what_it_is(text, reason):
    with pytest.raises(ValueError, match=reason):
        algorithms_of_public_key(text)


def test_a_random_secret_is_a_secret():
    """ValueError would say that it is none."""
    check_secret("correct horse battery staple, twice over")


@pytest.mark.parametrize("text", [pem(RSA), json.dumps(jwk(P256)), "\udcff" * 32])
def test_what_everybody_may_know_is_no_secret(text):
    with pytest.raises(ValueError):
        check_secret(text)


def test_a_jwks_gives_its_keys_by_id_and_algorithm():
    keys = keys_of_jwks(jwks(jwk(RSA, kid="a"), jwk(P256, kid="b", use="sig", alg="ES256"), jwk(ED25519)))
    assert set(keys) == {("a", "RS256"), ("b", "ES256"), (None, "EdDSA")}
    assert keys["b", "ES256"] == P256.public_key()


def test_keys_of_different_kinds_may_share_an_id():
    assert len(keys_of_jwks(jwks(jwk(RSA, kid="a"), jwk(P256, kid="a")))) == 2


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "kid": "a", "k": "c2VjcmV0"},
        jwk(RSA, use="enc"),
        jwk(RSA, key_ops=["encrypt"]),
        jwk(RSA, key_ops="verify"),
        jwk(RSA, alg="PS256"),
        jwk(RSA, alg="HS256"),
        jwk(RSA, alg=["RS256"]),
        jwk(RSA, alg="ES256"),
        jwk(RSA, e="AQ"),
        jwk(RSA, n="AQAB"),
        jwk(RSA, n=17),
        jwk(RSA, n=None),
        jwk(P256, crv="P-384"),
        jwk(P256, crv=[]),
        jwk(P256, x="AAAA"),
        jwk(P256, y=jwk(P256)["x"]),
        jwk(ED25519, x="AAAA"),
        jwk(ED25519, x="\x00\xff"),
        jwt.get_algorithm_by_name("EdDSA").to_jwk(ED25519, as_dict=True),
        {"kty": "OKP", "crv": "Ed448", "x": "A" * 76},
        {"kty": ["RSA"]},
        {"kty": None},
        {},
    ],
    ids=count(),
)
def test_unusable_keys_of_a_jwks_are_skipped_and_the_others_serve(entry):
    assert set(keys_of_jwks(jwks(entry, jwk(P256, kid="good")))) == {("good", "ES256")}


def test_a_key_id_that_is_no_string_counts_as_none():
    assert set(keys_of_jwks(jwks(jwk(P256, kid=7)))) == {(None, "ES256")}


NO_JWKS = [
    *(b"", b"<html>", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[1]}', b"\xff", b'{"keys":[{"\xff":1}]}'),
    *(b'{"keys":[' + b"[" * 100_000, b'{"keys":[{"a":' + b"[" * 100_000),
    b'{"keys":[{"kty":1' + b"0" * 5_000 + b"}]}",
]


@pytest.mark.parametrize("document", NO_JWKS, ids=count())
def test_what_is_no_jwks_is_refused(document):
    with pytest.raises(ValueError, match="not a JWKS"):
        keys_of_jwks(document)

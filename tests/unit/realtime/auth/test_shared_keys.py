"""Which projects accept each other's tokens, since they have one key; and which do not all the same."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from realtime.auth.tokens import projects_with_one_key
from realtime.settings.config import Project

SECRET = "a secret of more than thirty-two bytes"


def project(**settings) -> Project:
    return Project(database_url="postgresql://localhost/demo", **settings)


RSA, ANOTHER = (rsa.generate_private_key(65537, 2048).public_key() for _ in range(2))


def spelled(key, format=PublicFormat.SubjectPublicKeyInfo) -> str:
    return key.public_bytes(Encoding.PEM, format).decode()


ONE_KEY = {
    "a secret": ({"jwt_secret": SECRET}, {"jwt_secret": SECRET}),
    "a secret that HMAC fills up": ({"jwt_secret": SECRET}, {"jwt_secret": SECRET + "\0"}),
    "a public key": ({"jwt_public_key": spelled(RSA)}, {"jwt_public_key": spelled(RSA)}),
    "a public key with other blanks": (
        {"jwt_public_key": spelled(RSA)},
        {"jwt_public_key": "\n" + spelled(RSA).replace("\n", "\r\n") + "\n\n"},
    ),
    "a public key in another format": (
        {"jwt_public_key": spelled(RSA)},
        {"jwt_public_key": spelled(RSA, PublicFormat.PKCS1)},
    ),
    "a URL": ({"jwks_url": "https://id.example/keys"}, {"jwks_url": "https://ID.example.:443/keys#x"}),
    "an audience that one alone asks for": (
        {"jwt_secret": SECRET, "jwt_audience": "a"},
        {"jwt_secret": SECRET},
    ),
    "an algorithm that both have": (
        {"jwks_url": "https://id.example", "jwt_algorithms": ["RS256", "ES256"]},
        {"jwks_url": "https://id.example/", "jwt_algorithms": ["ES256"]},
    ),
    "algorithms that are told by one alone": (
        {"jwt_secret": SECRET, "jwt_algorithms": ["HS256"]},
        {"jwt_secret": SECRET},
    ),
}


@pytest.mark.parametrize(("one", "other"), ONE_KEY.values(), ids=ONE_KEY)
def test_projects_with_one_key_are_found_however_it_is_spelled(one, other):
    projects = {"b": project(**one), "a": project(**other), "c": project(jwt_secret="x" * 40)}
    assert projects_with_one_key(projects) == [["a", "b"]]


APART = {
    "secrets": ({"jwt_secret": SECRET}, {"jwt_secret": SECRET + " "}),
    "public keys": ({"jwt_public_key": spelled(RSA)}, {"jwt_public_key": spelled(ANOTHER)}),
    "paths": ({"jwks_url": "https://id.example/a"}, {"jwks_url": "https://id.example/A"}),
    "audiences": (
        {"jwt_secret": SECRET, "jwt_audience": "a"},
        {"jwt_secret": SECRET, "jwt_audience": "b"},
    ),
    "issuers": ({"jwt_secret": SECRET, "jwt_issuer": "a"}, {"jwt_secret": SECRET, "jwt_issuer": "b"}),
    "algorithms": (
        {"jwks_url": "https://id.example", "jwt_algorithms": ["RS256"]},
        {"jwks_url": "https://id.example", "jwt_algorithms": ["ES256"]},
    ),
}


@pytest.mark.parametrize(("one", "other"), APART.values(), ids=APART)
def test_projects_whose_tokens_are_told_apart_are_not_named(one, other):
    assert projects_with_one_key({"a": project(**one), "b": project(**other)}) == []


def test_a_project_that_is_told_apart_from_the_others_of_its_key_is_left_out():
    audiences = {"a": "one", "b": "one", "c": "another"}
    projects = {name: project(jwt_secret=SECRET, jwt_audience=one) for name, one in audiences.items()}
    assert projects_with_one_key(projects) == [["a", "b"]]

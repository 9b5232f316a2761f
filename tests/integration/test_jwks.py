"""A key ring against a real HTTP server that plays the issuer of tokens.

Long by what an issuer may do wrong, and by the server that plays it.
"""

import asyncio
import gzip
import json
import socket
from itertools import count
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from gateway.projects.jwks import (
    FETCH_SECONDS,
    MAX_AGE_SECONDS,
    MAX_JWKS_BYTES,
    REFRESH_SECONDS,
    RETRY_SECONDS,
    KeyRing,
)
from realtime.auth.tokens import UnknownKey, issue
from realtime.errors import ClientError, Code, Unavailable
from realtime.settings.config import Project
from tests.clean_log import logged

NOW = 1_700_000_000.0
SECRET = "a secret of more than thirty-two bytes"
PRIVATE: dict[str, Any] = {
    "old": ec.generate_private_key(ec.SECP256R1()),
    "new": ed25519.Ed25519PrivateKey.generate(),
}
ALGORITHM = {"old": "ES256", "new": "EdDSA"}


def token(kid: str, sub: str = "alice") -> str:
    key, algorithm = PRIVATE[kid if kid in PRIVATE else "old"], ALGORITHM.get(kid, "ES256")
    return jwt.encode({"sub": sub, "exp": NOW + 60}, key, algorithm, headers={"kid": kid})


def document(*kids: str) -> bytes:
    keys = []
    for kid in kids:
        public = jwt.get_algorithm_by_name(ALGORITHM[kid]).to_jwk(PRIVATE[kid].public_key(), as_dict=True)
        keys.append(public | {"kid": kid})
    return json.dumps({"keys": keys}).encode()


class Clock:
    """A monotonic clock that moves when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


class Issuer:
    """Serves `body`, counts how often, and holds its answers back while `open` is not set."""

    def __init__(self) -> None:
        self.fetches = 0
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = document("old")
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def answer(self, request: web.Request) -> web.Response:
        self.fetches += 1
        self.asked.set()
        await self.open.wait()
        return web.Response(status=self.status, headers=self.headers, body=self.body)


@pytest.fixture
async def issuer():
    return Issuer()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def server(aiohttp_server, issuer):
    app = web.Application()
    app.router.add_get("/jwks.json", issuer.answer)
    return await aiohttp_server(app)


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def fetch_seconds() -> float:
    return FETCH_SECONDS


@pytest.fixture
async def ring(server, session, clock, fetch_seconds):
    url = str(server.make_url("/jwks.json"))
    ring = KeyRing.of("demo", project(jwks_url=url), session, clock, fetch_seconds)
    yield ring
    await ring.close()


def project(**settings) -> Project:
    return Project(database_url="postgresql://", **settings)


async def is_good(ring: KeyRing, kid: str) -> bool:
    return (await ring.verify(token(kid), NOW)).user_id == "alice"


async def is_unknown(ring: KeyRing, kid: str) -> bool:
    with pytest.raises(UnknownKey):
        await ring.verify(token(kid), NOW)
    return True


async def is_unavailable(ring: KeyRing, kid: str) -> bool:
    with pytest.raises(Unavailable):
        await ring.verify(token(kid), NOW)
    return True


async def test_a_secret_needs_no_issuer(session):
    ring = KeyRing.of("demo", project(jwt_secret=SECRET), session)
    assert (await ring.verify(issue(SECRET, "demo", "alice", "x", 60, NOW), NOW)).user_id == "alice"
    await ring.close()


async def test_keys_are_fetched_on_first_use_and_kept(ring, issuer):
    assert issuer.fetches == 0
    assert [await is_good(ring, "old") for _ in range(5)] == [True] * 5
    assert issuer.fetches == 1


async def test_a_thousand_first_tokens_cause_one_fetch(ring, issuer):
    assert all(await asyncio.gather(*(is_good(ring, "old") for _ in range(1_000))))
    assert issuer.fetches == 1


async def test_a_thousand_first_tokens_of_unknown_keys_cause_one_fetch(ring, issuer):
    assert all(await asyncio.gather(*(is_unknown(ring, f"made-up-{n}") for n in range(1_000))))
    assert issuer.fetches == 1


async def test_what_is_no_token_causes_no_fetch(ring, issuer):
    for text in ("", "a.b.c", issue(SECRET, "demo", "alice", "x", 60, NOW)):
        with pytest.raises(ClientError) as caught:
            await ring.verify(text, NOW)
        assert caught.value.code is Code.UNAUTHORIZED
    assert issuer.fetches == 0


async def test_a_rotated_key_is_taken_up_at_its_first_token(ring, issuer):
    assert await is_good(ring, "old")
    issuer.body = document("new", "old")
    assert await is_good(ring, "new")
    assert await is_good(ring, "old")
    assert issuer.fetches == 2


async def test_a_withdrawn_key_ends_with_the_next_fetch(ring, issuer):
    assert await is_good(ring, "old")
    issuer.body = document("new")
    assert await is_good(ring, "new")
    assert await is_unknown(ring, "old")


async def test_a_thousand_tokens_of_a_new_key_cause_one_fetch(ring, issuer):
    assert await is_good(ring, "old")
    issuer.body = document("new")
    assert all(await asyncio.gather(*(is_good(ring, "new") for _ in range(1_000))))
    assert issuer.fetches == 2


async def test_unknown_keys_cause_one_fetch_a_minute(ring, issuer, clock):
    assert await is_good(ring, "old")
    for fetches in (2, 3, 4):
        for n in range(20):
            assert await is_unknown(ring, f"made-up-{n}")
        assert issuer.fetches == fetches
        clock.seconds += REFRESH_SECONDS - 1
        assert await is_unknown(ring, "made-up")
        assert issuer.fetches == fetches
        clock.seconds += 1


async def test_a_known_key_serves_at_once_while_newer_ones_are_fetched(ring, issuer):
    assert await is_good(ring, "old")
    issuer.open.clear()
    issuer.asked.clear()
    stranger = asyncio.create_task(is_unknown(ring, "made-up"))
    await issuer.asked.wait()
    assert await is_good(ring, "old")
    assert not stranger.done()
    issuer.open.set()
    assert await stranger


async def test_a_client_that_goes_away_does_not_take_the_fetch_from_others(ring, issuer):
    issuer.open.clear()
    first = asyncio.create_task(is_good(ring, "old"))
    await issuer.asked.wait()
    second = asyncio.create_task(is_good(ring, "old"))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    issuer.open.set()
    assert await second
    assert issuer.fetches == 1


async def test_old_keys_are_fetched_again_while_tokens_go_on(ring, issuer, clock):
    assert await is_good(ring, "old")
    clock.seconds += MAX_AGE_SECONDS - 1
    assert await is_good(ring, "old")
    assert issuer.fetches == 1
    clock.seconds += 1
    issuer.body = document("new")
    assert await is_good(ring, "old")
    assert await is_good(ring, "new")  # waits for the fetch that the old one has started
    assert await is_unknown(ring, "old")
    assert issuer.fetches == 3  # the last one on behalf of the key that is unknown now


async def test_old_keys_stay_in_force_while_the_issuer_is_down_and_it_is_asked_once_a_minute(
    ring, issuer, clock, caplog
):
    assert await is_good(ring, "old")
    issuer.status = 500
    clock.seconds += MAX_AGE_SECONDS
    for fetches in (2, 3):
        for _ in range(20):
            assert await is_good(ring, "old")
            assert await is_unknown(ring, "new")
        # One fetch by age, which the unknown key waited for, and one on its behalf.
        assert issuer.fetches == 1 + 2 * (fetches - 1)
        clock.seconds += REFRESH_SECONDS
    facts = logged(caplog, "jwks_fetch_failed")[0]
    assert facts["error"] == "127.0.0.1:PORT: answered 500 instead of 200".replace(
        "PORT", facts["error"].split(":")[1]
    )
    assert facts["keys_count"] == 1  # the old ones, which stay in force
    issuer.status, issuer.body = 200, document("new")
    assert await is_good(ring, "new")


async def test_without_any_keys_the_project_is_unavailable_until_there_are_some(ring, issuer, clock):
    issuer.status = 503
    for _ in range(20):
        assert await is_unavailable(ring, "old")
    assert issuer.fetches == 1
    issuer.status = 200
    clock.seconds += RETRY_SECONDS
    assert await is_good(ring, "old")


async def test_an_issuer_that_refuses_connections_makes_the_project_unavailable(session, clock, caplog):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/jwks.json"
        ring = KeyRing.of("demo", project(jwks_url=url), session, clock)
        assert await is_unavailable(ring, "old")
    assert [one["keys_count"] for one in logged(caplog, "jwks_fetch_failed")] == [0]


@pytest.mark.parametrize("fetch_seconds", [0.05])
async def test_an_issuer_that_does_not_answer_is_given_up(ring, issuer):
    issuer.open.clear()
    assert await is_unavailable(ring, "old")
    issuer.open.set()


WRONG_ANSWERS = [
    (200, {}, b""),
    (200, {}, b"<html>Welcome to the wireless network of this hotel</html>"),
    (200, {}, b'{"keys":'),
    (200, {}, document("old") + b" " * MAX_JWKS_BYTES),
    (200, {"Content-Encoding": "gzip"}, document("old")),
    (200, {"Content-Encoding": "gzip"}, gzip.compress(b" " * 100 * MAX_JWKS_BYTES)),
    (204, {}, b""),
    (302, {"Location": "/jwks.json?again"}, document("old")),
    (404, {}, document("old")),
]


@pytest.mark.parametrize("answer", WRONG_ANSWERS, ids=count())
async def test_a_wrong_answer_is_no_jwks_and_replaces_no_keys(ring, issuer, clock, answer):
    good = issuer.status, issuer.headers, issuer.body
    issuer.status, issuer.headers, issuer.body = answer
    assert await is_unavailable(ring, "old")
    clock.seconds += RETRY_SECONDS
    issuer.status, issuer.headers, issuer.body = good
    assert await is_good(ring, "old")
    issuer.status, issuer.headers, issuer.body = answer
    assert await is_unknown(ring, "new")
    assert await is_good(ring, "old")
    assert issuer.fetches == 3


async def test_a_compressed_jwks_of_any_content_type_is_taken(ring, issuer):
    issuer.headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain"}
    issuer.body = gzip.compress(document("old"))
    assert await is_good(ring, "old")


async def test_a_jwks_without_usable_keys_is_obeyed_and_logged(ring, issuer, caplog):
    issuer.body = b'{"keys":[{"kty":"oct","kid":"old","k":"c2VjcmV0"}]}'
    assert await is_unknown(ring, "old")
    assert logged(caplog, "jwks_empty") == [{"project": "demo"}]


async def test_a_symmetric_key_in_a_jwks_checks_nothing(ring, issuer):
    oct_key = {"kty": "oct", "kid": "new", "k": jwt.utils.base64url_encode(SECRET.encode()).decode()}
    issuer.body = json.dumps({"keys": [oct_key, *json.loads(document("old"))["keys"]]}).encode()
    forged = jwt.encode({"exp": NOW + 60}, SECRET, "HS256", headers={"kid": "new"})
    assert await is_good(ring, "old")
    with pytest.raises(ClientError) as caught:
        await ring.verify(forged, NOW)
    assert caught.value.code is Code.UNAUTHORIZED


async def test_the_kind_of_a_key_must_fit_the_algorithm_of_the_token(ring):
    text = jwt.encode(
        {"exp": NOW + 60}, rsa.generate_private_key(65537, 2048), "RS256", headers={"kid": "old"}
    )
    with pytest.raises(UnknownKey):
        await ring.verify(text, NOW)


async def test_closing_ends_a_fetch_that_is_under_way(ring, issuer):
    issuer.open.clear()
    waiting = asyncio.create_task(is_good(ring, "old"))
    await issuer.asked.wait()
    await ring.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    issuer.open.set()


async def test_a_fetch_that_dies_of_something_else_is_logged(ring, session, caplog):
    await session.close()
    with pytest.raises(RuntimeError):
        await ring.verify(token("old"), NOW)
    (facts,) = logged(caplog, "jwks_fetch_crashed")
    assert facts["project"] == "demo"
    assert "RuntimeError: Session is closed" in facts["exception"]


async def test_a_key_ring_tells_what_it_is_but_not_its_keys(ring, session):
    assert repr(ring) == "<KeyRing demo RS256/ES256/EdDSA, no keys yet>"
    assert await is_good(ring, "old")
    assert repr(ring) == "<KeyRing demo RS256/ES256/EdDSA, 1 fetched keys>"
    assert repr(KeyRing.of("demo", project(jwt_secret=SECRET), session)) == "<KeyRing demo HS256, own key>"

"""Who may come in, and where a request comes from."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from gateway.http.request import (
    bearer_token,
    check_origin,
    client_address,
    is_allowed_origin,
    websocket_token,
)
from realtime.errors import ClientError, Code
from realtime.settings.config import Project

# Origins


@pytest.mark.parametrize(
    ("origin", "pattern"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("https://APP.Example.COM", "https://app.example.com"),
        ("https://app.example.com", "https://App.Example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("https://a.example.com", "https://*.example.com"),
        ("https://a.b.example.com", "https://*.example.com"),
        ("https://A-1.EXAMPLE.com", "https://*.example.com"),
        ("https://my_app.example.com", "https://*.example.com"),
        ("https://xn--bcher-kva.example.com", "https://*.example.com"),
        ("https://a.example.com:8443", "https://*.example.com:8443"),
        ("https://anything.example.org", "*"),
        ("null", "*"),
        ("", "*"),
    ],
)
def test_an_origin_is_allowed_by(origin, pattern):
    assert is_allowed_origin(origin, ["https://other.example.net", pattern])


@pytest.mark.parametrize(
    ("origin", "pattern"),
    [
        ("http://app.example.com", "https://app.example.com"),
        ("https://app.example.com:8443", "https://app.example.com"),
        ("https://app.example.com", "https://app.example.com:8443"),
        ("https://app.example.com/", "https://app.example.com"),
        ("https://app.example.com.evil.org", "https://app.example.com"),
        ("https://evil-app.example.com", "https://app.example.com"),
        ("https://appXexample.com", "https://app.example.com"),
        ("app.example.com", "https://app.example.com"),
        ("https://app.example.com\n", "https://app.example.com"),
        ("https://app.example.com https://evil.org", "https://app.example.com"),
        ("null", "https://app.example.com"),
        ("", "https://app.example.com"),
        ("https://example.com", "https://*.example.com"),
        ("https://.example.com", "https://*.example.com"),
        ("https://evil-example.com", "https://*.example.com"),
        ("https://evilexample.com", "https://*.example.com"),
        ("https://a.evil-example.com", "https://*.example.com"),
        ("https://a..example.com", "https://*.example.com"),
        ("https://a.example.com.evil.org", "https://*.example.com"),
        ("https://a.exampleXcom", "https://*.example.com"),
        ("http://a.example.com", "https://*.example.com"),
        ("https://a.example.com:444", "https://*.example.com"),
        ("https://evil.org/.example.com", "https://*.example.com"),
        ("https://evil.org#.example.com", "https://*.example.com"),
        ("https://evil:1@.example.com", "https://*.example.com"),
        ("https://*.example.com", "https://*.example.com"),
        ("https://a.example.com\n", "https://*.example.com"),
        ("https://\u212a.example.com", "https://k.example.com"),  # no folding beyond ASCII
        ("https://\u00e9.example.com", "https://*.example.com"),
        ("null", "https://*.example.com"),
        ("https://\udcff.example.com", "*"),  # what no browser sends, and no header can tell back
        ("https://m\u00fcnchen.example.com", "*"),
        ("https://a.example.com\x7f", "*"),
    ],
)
def test_an_origin_is_refused_by(origin, pattern):
    assert not is_allowed_origin(origin, ["https://other.example.net", pattern])


def project(*origins: str) -> Project:
    return Project(database_url="postgresql://", allowed_origins=list(origins))


@pytest.mark.parametrize("origins", [(), ("https://app.example.com",), ("*",)])
def test_a_request_without_origin_is_no_browsers_and_allowed(origins):
    """A refusal would be raised."""
    check_origin(project(*origins), make_mocked_request("GET", "/"))


@pytest.mark.parametrize("origin", ["https://app.example.com", "null", ""])
def test_without_the_setting_no_origin_is_allowed(origin):
    with pytest.raises(ClientError) as caught:
        check_origin(project(), make_mocked_request("GET", "/", headers={"Origin": origin}))
    assert caught.value.code is Code.FORBIDDEN


# Addresses

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


def address(peer: str, *forwarded: str) -> str:
    request = make_mocked_request(
        "GET", "/", headers=CIMultiDict([("X-Forwarded-For", value) for value in forwarded])
    ).clone(remote=peer)
    return client_address(request, PROXIES)


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # spoofed: no proxy of ours said it
        ("203.0.113.9", ["198.51.100.1, 10.0.0.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),  # the left one is the client's own word
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),  # in two header lines
        ("10.0.0.1", ["198.51.100.1, 10.0.0.2"], "198.51.100.1"),  # through two proxies
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1, 10.9.9.9, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3"], "10.0.0.3"),  # a client in the proxies' own network
        ("10.0.0.1", [" 198.51.100.1 ,, "], "198.51.100.1"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["unknown, 10.0.0.2"], "10.0.0.2"),
        ("fd00::1", ["2001:DB8::0:1"], "2001:db8::1"),  # one spelling, so that counting holds
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("::ffff:203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("", ["198.51.100.1"], ""),
        ("10.0.0.1", ["fe80::1%eth0"], "fe80::1"),  # a zone means something to its own host alone
        ("fe80::2%eth0", [], "fe80::2"),
        ("fd00::1%eth0", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1%x"], "198.51.100.1"),
    ],
)
def test_the_address_of_a_client_is(peer, forwarded, found):
    assert address(peer, *forwarded) == found


# Tokens


def test_a_token_comes_by_url_by_header_or_as_the_second_subprotocol():
    for path, headers in [
        ("/ws?token=abc", {}),
        ("/ws", {"Authorization": "Bearer abc"}),
        ("/ws", {"Authorization": "bearer   abc"}),
        ("/ws", {"Sec-WebSocket-Protocol": "realtime, abc"}),
        ("/ws", {"Sec-WebSocket-Protocol": "realtime,abc"}),
        ("/ws?token=", {"Authorization": "Bearer abc"}),
    ]:
        assert websocket_token(make_mocked_request("GET", path, headers=headers)) == "abc"


@pytest.mark.parametrize(
    "offered", ["abc", "abc, realtime", "realtime", "realtime, abc, more", "other, abc", ""]
)
def test_other_subprotocols_carry_no_token(offered):
    request = make_mocked_request("GET", "/ws", headers={"Sec-WebSocket-Protocol": offered})
    assert websocket_token(request) is None


@pytest.mark.parametrize("value", ["Basic abc", "abc", "", "Bearerabc"])
def test_other_authorization_carries_no_token(value):
    assert bearer_token(make_mocked_request("GET", "/", headers={"Authorization": value})) is None

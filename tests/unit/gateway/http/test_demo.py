"""Where the demo page is: for a browser on this machine alone, under a name of this machine."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from aiohttp.test_utils import make_mocked_request

from gateway.http.demo import GUEST, is_here


def asked(address: object, host: str, **headers: str) -> bool:
    transport = Mock()
    transport.get_extra_info = lambda name, default=None: address if name == "sockname" else default
    return is_here(
        make_mocked_request("GET", "/demo", headers={"Host": host, **headers}, transport=transport)
    )


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:8000", "[::1]:8000"])
def test_a_browser_of_this_machine_is_here(host: str) -> None:
    assert asked(("127.0.0.1", 8000), host)
    assert asked(("::1", 8000, 0, 0), host)
    assert asked(("::ffff:127.0.0.1", 8000, 0, 0), host)


@pytest.mark.parametrize(
    "address", [("10.0.0.1", 8000), ("::ffff:10.0.0.1", 8000, 0, 0), "/run/socket", None, ""]
)
def test_another_address_of_this_machine_is_not(address: object) -> None:
    assert not asked(address, "127.0.0.1:8000")


@pytest.mark.parametrize(
    "host",
    ["example.com", "127.0.0.1.example.com", "localhost.example.com:80", "127.0.0.1:8000:1", "", "127.0.0.2"],
)
def test_a_foreign_name_that_leads_here_is_not(host: str) -> None:
    assert not asked(("127.0.0.1", 8000), host)


def test_what_a_proxy_passes_on_is_not() -> None:
    assert not asked(("127.0.0.1", 8000), "127.0.0.1:8000", **{"X-Forwarded-For": "203.0.113.1"})


@pytest.mark.parametrize("sub", ["alice", "guest-", "guest-A", "guest-a b", "guest-" + "a" * 17, "guest-a\n"])
def test_nobody_but_guests_gets_a_token(sub: str) -> None:
    assert not GUEST.fullmatch(sub)

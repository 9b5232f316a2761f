"""The dashboard and the client as a node serves them: files of the package, and nothing else."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from gateway.http import pages
from realtime.settings.config import Limits
from tests.gateway_fixture import Gateway, running_gateway, settings_for

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:"
DASHBOARD = Path(pages.FILES) / "dashboard"


@pytest.fixture
async def client_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Files of the package as they are; a text in place of the client."""
    (tmp_path / "static").mkdir()
    (tmp_path / "dashboard").symlink_to(DASHBOARD)
    text = "export const connect = 1\n" * 100
    (tmp_path / "static" / "realtime.js").write_text(text)
    monkeypatch.setattr(pages, "FILES", tmp_path)
    return text


async def ask(gateway: Gateway, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    """Status, headers and the bytes that were sent, compressed or not."""
    async with (
        aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["Accept-Encoding"]) as http,
        http.request(method, gateway.url + path, headers=headers, allow_redirects=False) as response,
    ):
        return response.status, response.headers, await response.read()


def without_chance(headers: Any) -> dict[str, str]:
    """Headers without those that differ from answer to answer."""
    return {
        name.lower(): value for name, value in headers.items() if name.lower() not in ("date", "x-request-id")
    }


async def test_every_file_of_the_dashboard_is_served_under_the_policy(gateway: Gateway) -> None:
    files = [path for path in DASHBOARD.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= set(pages._KINDS)
    for path in files:
        name = path.relative_to(DASHBOARD).as_posix()
        status, headers, body = await ask(
            gateway, "/dashboard" if name == "index.html" else f"/dashboard/{name}"
        )
        assert (status, body) == (200, pages.as_sent(path)), name
        assert headers["Content-Security-Policy"] == POLICY
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-cache"
        assert headers["Vary"] == "Accept-Encoding"
        assert "Access-Control-Allow-Origin" not in headers
        assert headers["Content-Type"].startswith(pages._KINDS[path.suffix])
        assert headers["Content-Type"].endswith("; charset=utf-8")


async def test_the_client_may_be_imported_by_pages_of_other_origins(
    client_file: str, gateway: Gateway
) -> None:
    status, headers, body = await ask(gateway, "/realtime.js", Origin="https://app.example.com")
    assert (status, body) == (200, client_file.encode())
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("GZIP;q=0.5, br", True),
        ("*", True),
        ("br, zstd", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("identity", False),
        (",;=", False),
    ],
)
async def test_a_file_is_compressed_for_who_accepts_it(
    gateway: Gateway, accepted: str, compressed: bool
) -> None:
    status, headers, body = await ask(gateway, "/dashboard", **{"Accept-Encoding": accepted})
    plain = pages.as_sent(DASHBOARD / "index.html")
    assert status == 200
    assert headers.get("Content-Encoding") == ("gzip" if compressed else None)
    assert (gzip.decompress(body) if compressed else body) == plain
    assert int(headers["Content-Length"]) == len(body)


async def test_who_has_the_file_already_gets_nothing_again(gateway: Gateway) -> None:
    _, plain, _ = await ask(gateway, "/dashboard/main.js")
    _, compressed, _ = await ask(gateway, "/dashboard/main.js", **{"Accept-Encoding": "gzip"})
    assert plain["ETag"] != compressed["ETag"]
    for known in (plain["ETag"], f'"else", W/{plain["ETag"]}', "*"):
        status, headers, body = await ask(gateway, "/dashboard/main.js", **{"If-None-Match": known})
        assert (status, body) == (304, b"")
        assert headers["ETag"] == plain["ETag"]
        assert headers["Content-Security-Policy"] == POLICY
    for unknown in ('"else"', "", plain["ETag"].strip('"'), '"' * 200):
        status, _, body = await ask(gateway, "/dashboard/main.js", **{"If-None-Match": unknown})
        assert status == 200
        assert body


async def test_head_tells_what_get_would_send_and_other_methods_are_refused(gateway: Gateway) -> None:
    _, got, body = await ask(gateway, "/dashboard/style.css")
    status, headers, nothing = await ask(gateway, "/dashboard/style.css", "HEAD")
    assert (status, nothing) == (200, b"")
    assert without_chance(headers) == without_chance(got)
    assert int(headers["Content-Length"]) == len(body)
    for method in ("POST", "PUT", "DELETE"):
        status, headers, _ = await ask(gateway, "/dashboard", method)
        assert status == 405
        assert headers["Allow"] == "GET,HEAD"


async def test_the_page_with_a_slash_leads_to_the_page_whatever_prefix_a_proxy_adds(gateway: Gateway) -> None:
    status, headers, body = await ask(gateway, "/dashboard/")
    assert (status, headers["Location"], body) == (308, "../dashboard", b"")


@pytest.mark.parametrize(
    "path",
    [
        "index.html",
        "main.js/",
        "main.py",
        "pages",
        "pages/",
        "nothing.js",
        "../app.py",
        "..%2fapp.py",
        "%2e%2e/%2e%2e/setup.cfg",
        "....//app.py",
        "..%5capp.py",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "main.js%00.css",
        "vendor/../../app.py",
        ".%2e/static/realtime.js%3f",
        "a" * 4_000,
    ],
)
async def test_no_path_reaches_another_file(gateway: Gateway, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(f"GET /dashboard/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400")), answer[:200]
    assert b'"code":"' in answer


async def test_the_dashboard_can_be_switched_off_and_the_client_stays(
    client_file: str, database_url: str, redis_url: str
) -> None:
    async with running_gateway(settings_for(database_url, redis_url, dashboard=False)) as gateway:
        for path in ("/dashboard", "/dashboard/", "/dashboard/main.js"):
            assert (await ask(gateway, path))[0] == 404
        assert (await ask(gateway, "/realtime.js"))[0] == 200


async def test_who_asks_too_often_is_refused(client_file: str, database_url: str, redis_url: str) -> None:
    common = Limits(requests_per_second_per_ip=0.01)
    settings = msgspec.structs.replace(settings_for(database_url, redis_url), limits=common)
    for path in ("/dashboard", "/realtime.js"):
        async with running_gateway(settings) as gateway:
            assert [(await ask(gateway, path))[0] for _ in range(3)] == [200, 429, 429]

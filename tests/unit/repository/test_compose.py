"""What image, compose file and nginx say of ports, options and settings is what the program says.

It is read by its lines, as it is written: none of our packages reads YAML.
"""

from __future__ import annotations

import json
import re

import click
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gateway.http.middlewares import REQUEST_ID
from gateway.http.request_ids import request_ids
from gateway.http.server import STOP_SECONDS
from gateway.timings import Timings
from gateway.websocket.web_socket import CLOSE_SECONDS
from realtime.cli.main import main
from realtime.process.health import health_routes
from realtime.settings.config import Settings, load
from tests.docs_fixture import ROOT, text_of

COMPOSE = (ROOT / "deploy/compose.yaml").read_text()
NGINX = (ROOT / "deploy/nginx.conf").read_text()
EXAMPLE = (ROOT / "deploy/realtime.toml").read_text()
SECRET = "a-secret-of-more-than-thirty-two-bytes"
HARDENING = ("read_only: true", "cap_drop: [ALL]", 'security_opt: ["no-new-privileges:true"]')

_FROM_DOTENV = re.compile(r"\$\{[A-Z_]+:\?in \.env\}")


def commands() -> dict[str, click.Context]:
    """What compose starts of ours, as the command line understands it."""
    found = [json.loads(words) for words in re.findall(r"^ +command: (\[.+\])$", COMPOSE, re.MULTILINE)]
    return {name: main.commands[name].make_context(name, words) for name, *words in found}


def services() -> dict[str, str]:
    """The lines of each service."""
    text = COMPOSE.partition("\nservices:\n")[2].partition("\nvolumes:")[0]
    parts = re.split(r"^  ([a-z0-9-]+):", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def settings() -> Settings:
    """What compose gives, with a value for each secret."""
    given = dict(re.findall(r'^ +(REALTIME_\w+): "?([^"\n]+)"?$', COMPOSE, re.MULTILINE))
    mounted = given.pop("REALTIME_CONFIG")
    assert f"./realtime.toml:{mounted}:ro" in COMPOSE
    return load(EXAMPLE, {name: _FROM_DOTENV.sub(SECRET, text) for name, text in given.items()})


def test_compose_starts_commands_with_options_that_they_have() -> None:
    found = commands()
    assert sorted(found) == ["gateway", "migrate", "notifier"]
    for name in ("gateway", "notifier"):
        health_check = f":{found[name].params['internal_port']}/healthz"
        assert health_check in (ROOT / "deploy/Dockerfile").read_text()


def test_nginx_looks_for_the_gateways_where_compose_starts_them() -> None:
    port = commands()["gateway"].params["port"]
    upstreams = re.findall(r"server (\S+) resolve", NGINX)
    assert upstreams == [f"{name}:{port}" for name, body in services().items() if "*gateway" in body]
    assert len(upstreams) == 2


@pytest.mark.parametrize("given", ["a", "A-1.b_c", "x" * 64, "x" * 65, "x y", "x;", "é"])
async def test_nginx_hands_on_the_request_ids_that_the_gateways_take(given: str) -> None:
    (handed_on,) = re.findall(r'"~(\S+)" \$http_x_request_id;', NGINX)
    assert f"proxy_set_header {REQUEST_ID} $id_of_request;" in NGINX
    request = make_mocked_request("GET", "/", headers={REQUEST_ID: given})
    response = await request_ids({})(request, answer)
    assert (re.search(handed_on, given) is not None) is (response.headers[REQUEST_ID] == given)


async def answer(_: web.Request) -> web.Response:
    return web.Response()


def test_nginx_keeps_to_itself_why_a_gateway_is_not_ready() -> None:
    ((path, status),) = re.findall(r"location = (\S+) \{\s*return (\d+);", NGINX)
    assert path in {route.path for route in health_routes(lambda: None)}
    assert status == "404"


def test_no_log_of_a_container_fills_the_disk() -> None:
    hardened = COMPOSE.partition("x-hardened:")[2].partition("x-realtime:")[0]
    assert re.search(r"logging: \{.*max-size: \d+m, max-file: ", hardened)
    assert "logging:" not in COMPOSE.replace(hardened, "")


def test_compose_gives_settings_that_are_taken() -> None:
    assert commands()["migrate"].params["project"] in settings().projects


def test_nginx_alone_is_believed_where_clients_come_from() -> None:
    addresses = re.findall(r"ipv4_address: ([\d.]+)", services()["nginx"])
    assert settings().trusted_proxies == addresses


def test_a_gateway_is_not_killed_while_it_drains() -> None:
    shared = COMPOSE.partition("x-gateway:")[2].partition("\nservices:")[0]
    (seconds,) = re.findall(r"stop_grace_period: (\d+)s", shared)
    last = CLOSE_SECONDS + 1 + STOP_SECONDS + Timings().goodbye_seconds
    assert int(seconds) > settings().drain_seconds + last
    assert f"`drain_seconds`, 20 by default, and {last:.0f} seconds on top" in text_of("docs/deployment.md")
    assert f"`drain_seconds` and {last:.0f} seconds before you kill it" in text_of("docs/operations.md")


def test_no_secret_has_a_default() -> None:
    # `$$NAME` is left to the shell in the container.
    text = COMPOSE.replace("$$", "")
    assert "$" not in _FROM_DOTENV.sub("", text)
    for line in re.findall(r"^ +\w*(?:PASSWORD|SECRET): (.*)$", text, re.MULTILINE):
        assert _FROM_DOTENV.fullmatch(line.strip('"')), line
    assert not re.search("password|secret =|_url =", EXAMPLE)


def test_no_port_is_open_but_that_of_nginx() -> None:
    (listened,) = re.findall(r"listen (\d+);", NGINX)
    assert re.findall(r"^ +ports: (.*)$", COMPOSE, re.MULTILINE) == [f'["8000:{listened}"]']


def test_every_service_is_hardened() -> None:
    for name, body in services().items():
        assert re.search(r"\*(hardened|realtime|gateway)\b", body), name
        assert not re.search("privileged|cap_add|read_only|cap_drop|security_opt", body), name
    hardened = COMPOSE.partition("x-hardened:")[2].partition("x-realtime:")[0]
    assert all(line in hardened for line in HARDENING)

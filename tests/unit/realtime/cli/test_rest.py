"""How commands ask the service: what they send, and one line for each way in which it does not answer."""

from __future__ import annotations

import pytest
from aiohttp import web

from realtime.cli import rest
from tests.ports import free_port
from tests.rest_stand_in import StandIn
from tests.unit.realtime.cli.conftest import Ran

TABLES = '{"tables":[]}'


def test_a_request_has_the_project_and_the_token(service: StandIn, at: Ran) -> None:
    service.on("GET /tables", TABLES)
    assert at("tables", "--project", "a/b").exit_code == 0
    (asked,) = service.asked
    assert asked.headers["Authorization"] == "Bearer jwt"
    assert asked.path == "/projects/a/b/realtime/tables"


def test_json_is_the_answer_as_it_came(service: StandIn, at: Ran) -> None:
    answer = '{"tables": [], "later": 0.100000000000000000000001}'
    service.on("GET /tables", answer)
    assert at("tables", "--json").stdout == answer + "\n"


def test_a_refusal_is_one_line_without_controls(service: StandIn, at: Ran) -> None:
    service.refuse("POST /enable", 404, "not_found", "there is no table \x1b[2Jx\n")
    result = at("enable", "x")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: not_found: there is no table \\u001b[2Jx\\u000a\n"


def test_a_name_that_is_no_text_is_told_so(service: StandIn, at: Ran) -> None:
    result = at("disconnect", "--user", "\udcff")
    assert (result.exit_code, service.asked) == (2, [])
    assert result.stderr.endswith("Error: a name has bytes that are not UTF-8\n")


def test_a_service_that_is_away_is_one_sentence_that_says_what_to_try(ran: Ran) -> None:
    port = free_port()
    result = ran("status", "--url", f"http://127.0.0.1:{port}", "--token", "jwt")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: 127.0.0.1:{port}: the connection was refused; start a gateway")
    assert "--url" in line


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(text="<html>Bad Gateway", status=502),
        web.Response(status=301, headers={"Location": "http://127.0.0.1:1/"}),
        web.Response(text="\udcff".encode(errors="surrogateescape").decode("latin-1"), status=200),
        web.Response(text='{"tables":1}'),
        web.Response(text='{"error":"x"}', status=400),
    ],
    ids=["proxy", "redirect", "no JSON", "another shape", "another error"],
)
def test_an_answer_of_something_else_is_one_line(service: StandIn, at: Ran, answer: web.Response) -> None:
    service.on("GET /tables", answer)
    result = at("tables")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: 127.0.0.1:")


def test_a_request_that_came_too_often_is_tried_again(service: StandIn, at: Ran) -> None:
    service.refuse("GET /tables", 429, "rate_limited", "wait", **{"Retry-After": "0"})
    service.answers["GET /tables"].append(TABLES)
    assert at("tables").exit_code == 0
    assert len(service.asked) == 2


def test_a_request_that_always_comes_too_often_is_given_up(service: StandIn, at: Ran) -> None:
    service.refuse("GET /tables", 429, "rate_limited", "wait", **{"Retry-After": "0"})
    assert at("tables").stderr == "Error: rate_limited: wait\n"
    assert len(service.asked) == rest.TRIES


def test_an_answer_without_end_is_not_read_to_its_end(
    service: StandIn, at: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "MAX_ANSWER_BYTES", 1000)
    service.on("GET /tables", " " * 2000 + TABLES)
    assert "more than 1000 bytes" in at("tables").stderr


def test_without_settings_and_token_a_command_says_what_it_needs(
    ran: Ran, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.delenv("REALTIME_CONFIG", raising=False)
    result = ran("status")
    assert result.stderr == "Error: --config: name the file with the settings, or give a --token\n"


@pytest.mark.parametrize("url", ["nonsense", "ftp://host", "http://user:secret@host", "http://a b"])
def test_an_address_that_is_none_is_refused(ran: Ran, url: str) -> None:
    result = ran("status", "--url", url, "--token", "jwt")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: --url: ")
    assert "secret" not in result.stderr

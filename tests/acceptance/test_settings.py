"""What is wrong with the settings or the arguments stops the start, in a line that names it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.acceptance.conftest import Stage
from tests.acceptance.programs import run
from tests.gateway_fixture import SECRET
from tests.ports import free_port

DEMO = f"""
[projects.demo]
database_url = "postgresql://who:sesame@127.0.0.1/x"
jwt_secret = "{SECRET}"
"""


@pytest.mark.parametrize(
    ("toml", "environment", "sentence"),
    [
        pytest.param("", {}, "projects: none is configured", id="no projects"),
        pytest.param("redis_url = ", {}, "configuration file: not valid TOML", id="bad TOML"),
        pytest.param("redis_uri = ''" + DEMO, {}, "redis_uri: unknown setting", id="unknown setting"),
        pytest.param(DEMO + "jwt_secrets = ''", {}, "projects.demo.jwt_secrets: unknown", id="of a project"),
        pytest.param("poll_seconds = 0" + DEMO, {}, "poll_seconds: ", id="out of bounds"),
        pytest.param("redis_url = 'http://x'" + DEMO, {}, "redis_url: expected redis://", id="wrong scheme"),
        pytest.param(
            "[projects.demo]\njwt_secret = '" + SECRET + "'",
            {},
            "projects.demo.database_url: missing",
            id="none",
        ),
        pytest.param(
            DEMO.replace(SECRET, "too short"),
            {},
            "projects.demo.jwt_secret: shorter than 32",
            id="short secret",
        ),
        pytest.param(DEMO, {"REALTIME_POLL_SECOND": "1"}, "poll_second: unknown setting", id="environment"),
        pytest.param(
            DEMO, {"REALTIME_HISTORY_ENTRIES": "many"}, "history_entries: ", id="type in environment"
        ),
        pytest.param(
            DEMO,
            {"REALTIME_PROJECTS__DEMO__JWT_SECRET": "short"},
            "projects.demo.jwt_secret: ",
            id="overlaid",
        ),
    ],
)
async def test_a_wrong_setting_is_named(
    tmp_path: Path, toml: str, environment: dict[str, str], sentence: str
) -> None:
    (tmp_path / "our.toml").write_text(toml)
    program = await run("gateway", "--config", "our.toml", directory=tmp_path, environment=environment)
    (line,) = program.errors.splitlines()
    assert line.startswith(f"Error: {sentence}")
    assert program.status == 1
    assert "sesame" not in line


@pytest.mark.parametrize("command", ["notifier", "migrate", "token", "listen"])
async def test_every_command_names_a_wrong_setting(tmp_path: Path, command: str) -> None:
    (tmp_path / "our.toml").write_text("redis_uri = ''" + DEMO)
    channel = ["table:users"] if command == "listen" else []
    program = await run(command, "--config", "our.toml", *channel, directory=tmp_path)
    assert (program.errors, program.status) == ("Error: redis_uri: unknown setting\n", 1)


async def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = {"REALTIME_CONFIG": "missing.toml"}
    for words, environment in ((["--config", "missing.toml"], {}), ([], missing)):
        program = await run("notifier", *words, directory=tmp_path, environment=environment)
        assert program.status == 1
        assert program.errors.startswith("Error: --config: ")
        assert "missing.toml" in program.errors


async def test_a_project_that_is_not_configured_is_named(tmp_path: Path) -> None:
    (tmp_path / "our.toml").write_text(DEMO)
    for command in ("token", "migrate"):
        program = await run(command, "--config", "our.toml", "--project", "x", directory=tmp_path)
        assert (program.errors, program.status) == ("Error: projects.x: missing\n", 1)


async def test_a_port_that_is_taken_is_named(stage: Stage) -> None:
    taken, free = free_port(), free_port()
    with socket.create_server(("127.0.0.1", taken)):
        for words in (
            ["gateway", "--port", taken],
            ["gateway", "--port", free, "--internal-port", taken],
            ["gateway", "--port", taken, "--workers", 2],
            ["notifier", "--internal-port", taken],
        ):
            common = ("--host", "127.0.0.1", "--config", stage.config)
            program = await run(*words, *common, directory=stage.directory)
            assert program.status == 1, words
            assert f"{taken}" in program.errors, words


async def test_a_database_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    place = f"127.0.0.1:{free_port()}"
    (tmp_path / "our.toml").write_text(DEMO.replace("127.0.0.1/", f"{place}/"))
    program = await run("migrate", "--config", "our.toml", directory=tmp_path)
    assert program.status == 1
    reason = f"{place}: the connection was refused"
    assert program.errors == f"Error: the project's database cannot be reached now: {reason}\n"

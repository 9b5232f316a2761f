"""No value of any setting ends in a traceback: it is taken, or one line names the setting.

Every setting that there is gets every value here, by the file and by the environment. Long by these values.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from realtime.settings.config import Limits, Namespace, Project, Settings
from tests.acceptance.programs import clean_environment, run
from tests.docs_fixture import ROOT
from tests.many_commands import Command

SECRET = "a secret of more than thirty-two bytes"
PASSWORD = "s3same"
URL = f"postgresql://app:{PASSWORD}@127.0.0.1:1/x"
TABLES: dict[str, type[msgspec.Struct]] = {
    "": Settings,
    "limits": Limits,
    "projects.demo": Project,
    "projects.demo.limits": Limits,
    "projects.demo.namespaces.room": Namespace,
}
SECONDS = 120.0
# `token` is refused by what it is asked for.
NAMED_BY = {"max_token_seconds": ("--ttl: the project accepts no token",)}

TYPES = ("true", "[]", "{}", "[{}]", '["x"]', "[[]]", "1979-05-27", "07:32:00", "{a = 1}", "{a = {}}")
NUMBERS = (
    *("0", "-1", "1.5", "1_000_000_000_000", str(2**63), str(10**30), str(10**400), "0x" + "f" * 5_000),
    *("nan", "inf", "-inf", "1e308", "1e-308", "-0.0", "1" + "0" * 5_000),
)
TEXTS = (
    *("", "x", " ", "\0", "\n", "\x1b[31m", "\U0010ffff", "\u202e", "x" * 20_000, "é" * 40, "%ff", "%00"),
    *(
        "postgresql://",
        "postgresql://\u202e",
        "postgresql://x?y=z",
        "postgresql://x?sslcert=%00",
        "mysql://x",
    ),
    *("redis://", "rediss://x?ssl_certfile=/", "redis://x?protocol=3", "redis://x?db=1", "redis://x:y/z"),
    *("redis://x?socket_timeout=1", "rediss://x?ssl_min_version=TLSv1", "redis+sentinel://x", "redis://%ff"),
    *("https://", "https://[", "https://x:99999", "https://a b", "file:///etc/passwd", "10.0.0.1/8"),
    *("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----\n"),
)
BYTES = ("\udcff", "1\udcff", "[\udcff", "[", "[]", '["\\ud800"]', "[[[[", "[" * 50_000, "1e400", "9" * 5_000)


def settings() -> list[tuple[str, str]]:
    return [(table, field.name) for table, kind in TABLES.items() for field in msgspec.structs.fields(kind)]


def toml_of(table: str, name: str, value: str) -> str:
    """Settings that are good, but for one, whose value is TOML already."""
    good = {"database_url": json.dumps(URL), "jwt_secret": json.dumps(SECRET)}
    if name in ("jwt_public_key", "jwks_url"):
        del good["jwt_secret"]
    tables: dict[str, dict[str, str]] = {"": {}, "projects.demo": good}
    tables.setdefault(table, {})[name] = value
    if name == "projects":
        del tables["projects.demo"]
    lines = []
    for one, pairs in tables.items():
        lines += [f"[{one}]"] if one else []
        lines += [f"{key} = {text}" for key, text in pairs.items()]
    return "\n".join(lines) + "\n"


def by_file(directory: Path, command: str) -> Iterator[tuple[str, Command]]:
    """Each setting with each odd value, and the command that reads it."""
    number = 0
    for table, name in settings():
        for value in (*TYPES, *NUMBERS, *map(json.dumps, TEXTS)):
            number += 1
            path = directory / f"{number}.toml"
            path.write_text(toml_of(table, name, value))
            yield name, ([command, "--config", str(path)], {})


def by_environment(directory: Path, command: str) -> Iterator[tuple[str, Command]]:
    path = directory / "good.toml"
    path.write_text(f"[projects.demo]\ndatabase_url = '{URL}'\njwt_secret = '{SECRET}'\n")
    for table, name in settings():
        variable = "__".join(["REALTIME", *filter(None, table.upper().split(".")), name.upper()])
        variable = variable.replace("REALTIME__", "REALTIME_", 1)
        for value in (*TEXTS, *BYTES):
            if "\0" not in value:  # which no environment can have
                yield name, ([command, "--config", str(path)], {variable: value})


# How a command ended, what it said last, and how it crashed, if it did.
Outcome = tuple[int, str, str | None]


def outcomes_of(commands: list[Command]) -> list[Outcome]:
    done = subprocess.run(
        (sys.executable, "-m", "tests.many_commands"),
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=clean_environment(),
        check=True,
        timeout=SECONDS,
    )
    return [tuple(one) for one in json.loads(done.stdout)]


@pytest.mark.parametrize("source", [by_file, by_environment])
def test_every_value_of_every_setting_is_taken_or_one_line_names_it(source, tmp_path: Path) -> None:
    cases = list(source(tmp_path, "token"))
    refused = []
    for (name, command), (status, said, crash) in zip(
        cases, outcomes_of([command for _, command in cases]), strict=True
    ):
        assert crash is None, (name, command, crash)
        assert status in (0, 1), (name, said)
        if status == 1:
            (line,) = said.splitlines()
            refused.append((name, command, line))
            assert line.startswith("Error: "), line
            known = (name, "TOML", "projects.demo: give exactly one", *NAMED_BY.get(name, ()))
            assert any(words in line for words in known), (name, line)
            assert PASSWORD not in line
            assert SECRET not in line
    assert {name for name, _, _ in refused} == {name for _, name in settings()}
    # Whatever is refused is refused by each command, before it does anything.
    by_setting = [words for _, words, line in refused if not line.startswith("Error: --ttl")]
    for command in ("gateway", "notifier", "migrate"):
        commands: list[Command] = [
            ([command, *words[1:]], environment) for words, environment in by_setting[::20]
        ]
        assert {(status, crash) for status, _, crash in outcomes_of(commands)} == {(1, None)}


COMMANDS = ("gateway", "notifier", "migrate", "token")


def told_by_all(config: Path, commands: tuple[str, ...] = COMMANDS) -> str:
    """The line with which each of the commands ends, which is the same."""
    outcomes = outcomes_of([([command, "--config", str(config)], {}) for command in commands])
    ((status, said, crash),) = set(outcomes)
    assert (status, crash) == (1, None)
    (line,) = said.splitlines()
    assert PASSWORD not in line
    return line


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\xff\xfe", "--config: "),
        (b"poll_seconds = '\xc3\x28'", "--config: "),
        (b"\0", "configuration file: not valid TOML"),
        (b"a = " + b"[" * 100_000, "configuration file: not valid TOML"),
        (b"a" * 17_000_000, "--config: "),
        (None, "--config: "),
    ],
    ids=["no UTF-8", "half a character", "a zero", "deep", "big", "no file"],
)
def test_a_file_that_is_no_file_of_settings_is_named(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    config = tmp_path / "our.toml"
    if content is not None:
        config.write_bytes(content)
    line = told_by_all(config)
    assert line.startswith(f"Error: {complaint}")
    assert len(line) < 1_000


def test_a_directory_is_no_file_of_settings(tmp_path: Path) -> None:
    for status, said, crash in outcomes_of(
        [([command, "--config", str(tmp_path)], {}) for command in COMMANDS]
    ):
        assert "Invalid value for '--config'" in said
        assert (status, crash) == (2, None)


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("sslrootcert", "sslmode=require&sslrootcert={text}"),
        ("sslrootcert", "sslmode=require&sslrootcert={directory}"),
        ("sslrootcert", "sslmode=verify-full"),
        ("sslcert", "sslcert={text}"),
        ("sslcert", "sslcert={nothing}"),
        ("passfile", "passfile={directory}"),
    ],
)
def test_a_file_that_an_address_names_is_looked_through_at_the_start(
    tmp_path: Path, name: str, query: str
) -> None:
    (tmp_path / "text").write_text(PASSWORD)
    paths = {"text": tmp_path / "text", "directory": tmp_path, "nothing": tmp_path / "nothing"}
    config = tmp_path / "our.toml"
    config.write_text(
        f"[projects.demo]\njwt_secret = '{SECRET}'\ndatabase_url = '{URL}?{query.format(**paths)}'\n"
    )
    line = told_by_all(config, ("gateway", "notifier", "migrate"))
    assert line.startswith(f"Error: projects.demo.database_url: {name}: ")


@pytest.mark.parametrize("command", ["gateway", "notifier"])
@pytest.mark.parametrize(
    ("name", "kind"), [("ssl_ca_certs", "text"), ("ssl_ca_certs", "directory"), ("ssl_certfile", "nothing")]
)
async def test_a_file_that_redis_url_names_is_looked_through_at_the_start(
    tmp_path: Path, command: str, name: str, kind: str
) -> None:
    (tmp_path / "text").write_text(PASSWORD)
    path = {"text": tmp_path / "text", "directory": tmp_path, "nothing": tmp_path / "nothing"}[kind]
    (tmp_path / "our.toml").write_text(
        f"redis_url = 'rediss://:{PASSWORD}@127.0.0.1:1?{name}={path}'\n"
        f"[projects.demo]\njwt_secret = '{SECRET}'\ndatabase_url = '{URL}'\n"
    )
    program = await run(command, "--config", "our.toml", directory=tmp_path)
    (line,) = program.errors.splitlines()
    assert line.startswith(f"Error: redis_url: {name}: {path}: ")
    assert program.status == 1
    assert PASSWORD not in line

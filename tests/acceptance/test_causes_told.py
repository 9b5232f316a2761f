"""Why a server is away is told by every command: in its log, on its internal port, or as its last line."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from realtime.causes.kinds import Cause
from tests.acceptance.conftest import Stage
from tests.acceptance.programs import client_of, psql, run, running
from tests.acceptance.served import LOCAL, enable, get, served
from tests.broken_postgres import PASSWORD, broken_postgres
from tests.broken_postgres import Stage as Broken
from tests.gateway_fixture import SECRET, token_for
from tests.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")
AWAY = "the project's database cannot be reached now"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broken(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Broken]:
    async with broken_postgres(tmp_path_factory.mktemp("causes")) as broken:
        yield broken


def projects(broken: Broken) -> Iterator[tuple[str, str, str, Cause]]:
    """Project ids, each with the URL of a database, its place, and why it cannot be reached."""
    here = {where: f"127.0.0.1:{port}" for where, port in broken.ports.items()}
    url, well = broken.url, here["postgres"]
    verified = {"sslmode": "verify-full", "sslrootcert": str(broken.certificates.ca)}
    yield "refused", url("nobody"), here["nobody"], Cause.REFUSED
    yield "dns", url(at="nosuch.invalid"), f"nosuch.invalid:{broken.ports['postgres']}", Cause.UNKNOWN_HOST
    yield "silent", url("silent", connect_timeout="1"), here["silent"], Cause.TIMEOUT
    yield "http", url("http"), here["http"], Cause.NO_TLS
    yield "password", url(user="app:wr0ng"), well, Cause.PASSWORD
    yield "no-password", url(user="app"), well, Cause.NO_PASSWORD
    yield "hba", url(user=f"refused_by_hba:{PASSWORD}"), well, Cause.LOGIN
    yield "name", url(to="nosuch"), well, Cause.NO_DATABASE
    yield "right", url(to="guarded"), well, Cause.RIGHT
    yield "no-tls", url(sslmode="require"), well, Cause.NO_TLS
    yield "untrusted", url("tls", sslrootcert="system"), here["tls"], Cause.UNTRUSTED
    yield "expired", url("expired", **verified), here["expired"], Cause.EXPIRED


def configure(directory: Path, redis_url: str, **urls: str) -> Path:
    lines = [f"redis_url = {json.dumps(redis_url)}", "drain_seconds = 0"]
    for project_id, url in urls.items():
        lines += [f"[projects.{project_id}]", f"database_url = {json.dumps(url)}", f"jwt_secret = '{SECRET}'"]
    (directory / "realtime.toml").write_text("\n".join(lines) + "\n")
    return directory / "realtime.toml"


def has_no_secret(text: str) -> bool:
    return not re.search(f"{PASSWORD}|wr0ng|{SECRET}", text)


async def test_a_notifier_tells_of_each_project_why_its_database_is_away(
    broken: Broken, tmp_path: Path, redis_url: str
) -> None:
    config = configure(tmp_path, redis_url, **{name: url for name, url, _, _ in projects(broken)})
    port = free_port()
    words = ("notifier", *LOCAL, "--config", config, "--internal-port", port)
    async with running(*words, directory=tmp_path) as notifier:
        for project_id, _, place, cause in projects(broken):
            (told,) = await notifier.tells("feed_failed", project=project_id)
            assert told["error"].startswith(f"{place}: {cause}")

        async def has_tried_again() -> bool:
            _, metrics = await get(f"http://127.0.0.1:{port}/metrics")
            faults = re.search(r'realtime_notifier_faults_total\{project="refused"\} (\S+)', metrics)
            return faults is not None and float(faults[1]) >= 4

        await notifier.does(has_tried_again)
        status, body = await get(f"http://127.0.0.1:{port}/readyz")
        assert status == 503
        for project_id, _, place, cause in projects(broken):
            assert f"{project_id}: connecting: {place}: {cause}" in json.loads(body)["reason"]
            assert len(await notifier.tells("feed_failed", project=project_id)) == 1
        assert has_no_secret(notifier.errors + body)


async def test_migrate_ends_with_the_cause(broken: Broken, tmp_path: Path, redis_url: str) -> None:
    config = configure(tmp_path, redis_url, **{name: url for name, url, _, _ in projects(broken)})
    for project_id, _, place, cause in projects(broken):
        program = await run("migrate", "--project", project_id, "--config", config, directory=tmp_path)
        (line,) = program.errors.splitlines()
        assert line.startswith(f"Error: {AWAY}: {place}: {cause}")
        assert program.status == 1
        assert has_no_secret(line)


async def test_migrate_ends_with_what_the_server_says_of_a_statement(stage: Stage) -> None:
    fault = "create function fault() returns event_trigger language plpgsql as 'begin perform 1 / 0; end'"
    await psql(stage.database_url, fault)
    await psql(stage.database_url, "create event trigger fault on ddl_command_start execute function fault()")
    program = await run("migrate", "--config", stage.config, directory=stage.directory)
    (line,) = program.errors.splitlines()
    place = stage.database_url.rpartition("@")[2].partition("/")[0]
    reason = f"{place}: {Cause.OTHER} (SQLSTATE 22012: DivisionByZeroError)"
    assert line == f"Error: the schema cannot be installed: {reason}"
    assert program.status == 1


async def test_an_address_as_managed_postgres_hands_it_out_serves(messages: Stage) -> None:
    query = "channel_binding=prefer&connect_timeout=5&application_name=shop&keepalives_idle=30"
    options = "options=-c%20statement_timeout%3D60000&target_session_attrs=read-write&gssencmode=disable"
    handed_out = f"{messages.database_url}?sslmode=prefer&{query}&{options}"
    Stage(messages.directory, handed_out, messages.redis_url).write()
    program = await run("migrate", "--config", messages.config, directory=messages.directory)
    assert (program.status, len(program.lines)) == (0, 1)
    async with served(messages) as parts:
        await enable(parts.url, "messages")
        async with client_of(parts.url, token_for()) as client:
            await client.subscribe("table:messages")
            await psql(messages.database_url, "insert into messages (body) values ('hello')")
            assert (await client.hear())["data"]["body"] == "hello"


async def test_what_a_shell_has_set_for_libpq_changes_nothing(stage: Stage, broken: Broken) -> None:
    stray = {
        "PGHOST": "nosuch.invalid",
        "PGPORT": "1",
        "PGUSER": "nobody",
        "PGDATABASE": "nosuch",
        "PGPASSWORD": PASSWORD,
        "PGPASSFILE": "/nosuch",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/nosuch",
        "PGSSLCERT": "/nosuch",
        "PGSSLKEY": "/nosuch",
        "PGSSLNEGOTIATION": "direct",
        "PGSERVICE": "nosuch",
        "PGSERVICEFILE": "/nosuch",
        "PGTARGETSESSIONATTRS": "standby",
        "PGOPTIONS": "-c nosuch=1",
        "PGSSLMINPROTOCOLVERSION": "none",
    }
    words = ("migrate", "--config", stage.config)
    program = await run(*words, directory=stage.directory, environment=stray)
    assert (program.status, program.lines) == (0, ["the schema realtime of project demo is up to date"])
    configure(stage.directory, stage.redis_url, demo=broken.url(user="app"))
    program = await run(*words, directory=stage.directory, environment=stray)
    assert Cause.NO_PASSWORD in program.errors


@pytest.mark.standalone
async def test_a_notifier_whose_redis_password_is_wrong_tells_it(stage: Stage, redis_url: str) -> None:
    await run("migrate", "--config", stage.config, directory=stage.directory)
    wrong = re.sub("//[^@]*@", "//:wr0ng@", redis_url)
    config, port = configure(stage.directory, wrong, demo=stage.database_url), free_port()
    words = ("notifier", *LOCAL, "--config", config, "--internal-port", port)
    async with running(*words, directory=stage.directory) as notifier:
        told = await notifier.tells("redis_unavailable", project="demo")
        place = f"127.0.0.1:{redis_url.rpartition(':')[2].partition('/')[0]}"
        assert told[0]["error"].startswith(f"{place}: {Cause.PASSWORD} (WRONGPASS")
        (failed,) = await notifier.tells("redis_call_failed")
        assert failed["error"] == told[0]["error"]
        _, body = await get(f"http://127.0.0.1:{port}/readyz")
        assert json.loads(body)["reason"] == f"demo: Redis is away: {told[0]['error']}"
        assert has_no_secret(notifier.errors + body)


async def test_a_reload_refuses_a_parameter_by_its_name(stage: Stage) -> None:
    words = ("notifier", *LOCAL, "--config", stage.config)
    async with running(*words, directory=stage.directory) as notifier:
        await notifier.tells("process_started")
        good = stage.database_url
        for more, reason in (
            ("?pgbouncer=true", "pgbouncer: unknown parameter"),
            ("?sslmode=require&sslrootcert=/nosuch", "sslrootcert: /nosuch: No such file or directory"),
        ):
            configure(stage.directory, stage.redis_url, demo=good + more)
            notifier.send(signal.SIGHUP)
            await notifier.says(f'"setting": "projects.demo.database_url", "reason": "{reason}')
        assert await notifier.stop() == 0


async def test_listen_tells_why_it_does_not_hear_anything(stage: Stage) -> None:
    port = free_port()
    words = ("listen", "room:a", "--url", f"http://127.0.0.1:{port}", "--config", stage.config)
    async with running(*words, directory=stage.directory) as listener:
        await listener.says(f"127.0.0.1:{port}: {Cause.REFUSED}; trying again every 1 s\n")
        assert has_no_secret(listener.errors)
        assert await listener.stop(signal.SIGINT) == 0
    async with running(
        *("listen", "room:a", "--url", "http://nosuch.invalid", "--config", stage.config),
        directory=stage.directory,
    ) as listener:
        await listener.says(f"nosuch.invalid:80: {Cause.UNKNOWN_HOST}")


@pytest.mark.parametrize(
    "url",
    [
        *("", "x", "ftp://x", "http://", "http://[", "http://x:99999", "http://a b", "http://a..b", "//x"),
        f"http://app:{PASSWORD}@127.0.0.1:1",
    ],
)
async def test_listen_refuses_what_is_no_address(stage: Stage, url: str) -> None:
    words = ("listen", "room:a", "--url", url, "--token", "x")
    program = await run(*words, directory=stage.directory)
    assert program.errors.startswith("Error: --url: ")
    assert program.errors.endswith(" is not an address like https://api.example.com\n")
    assert (program.status, len(program.errors.splitlines())) == (1, 1)
    assert has_no_secret(program.errors)

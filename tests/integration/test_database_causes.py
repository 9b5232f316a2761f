"""Why a database cannot be reached, told of real servers: the cause, host and port, and no secret.

On both event loops, since they raise different errors; the program runs on uvloop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from gateway.projects.tables import Tables
from realtime.causes.kinds import Cause
from realtime.channels import Table
from realtime.errors import Unavailable
from realtime.postgres.connector import AWAY
from realtime.postgres.pool import Database
from realtime.settings.config import Project
from tests.broken_postgres import PASSWORD, Stage, broken_postgres, open_and_close, reason_of
from tests.clean_log import logged
from tests.gateway_fixture import SECRET
from tests.postgres_fixture import open_session

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with broken_postgres(tmp_path_factory.mktemp("causes")) as stage:
        yield stage


def broken(stage: Stage) -> Iterator[tuple[str, str, Cause, str]]:
    """URLs, with the place, the cause, and a piece of what the server said."""
    url = stage.url
    here = {where: f"127.0.0.1:{port}" for where, port in stage.ports.items()}
    well = here["postgres"]
    yield url("nobody"), here["nobody"], Cause.REFUSED, ""
    yield url(at="nosuch.invalid"), f"nosuch.invalid:{stage.ports['postgres']}", Cause.UNKNOWN_HOST, ""
    yield url("silent"), here["silent"], Cause.TIMEOUT, ""
    yield url("silent", connect_timeout="1"), here["silent"], Cause.TIMEOUT, ""
    yield url("http"), here["http"], Cause.NO_TLS, ""
    yield url("http", sslmode="disable"), here["http"], Cause.CLOSED, ""
    yield url("hangs up"), here["hangs up"], Cause.CLOSED, ""
    yield url("hangs up", sslmode="require"), here["hangs up"], Cause.CLOSED_TLS, ""
    yield f"postgresql://app:{PASSWORD}@/x?host=/nosuch", "/nosuch/.s.PGSQL.5432", Cause.NO_SOCKET, ""
    yield url(user="app:wrong"), well, Cause.PASSWORD, 'for user "app"'
    yield url(user="nobody:wrong"), well, Cause.PASSWORD, 'for user "nobody"'
    yield url(user="app"), well, Cause.NO_PASSWORD, ""
    yield url(user=f"no_login:{PASSWORD}"), well, Cause.LOGIN, "not permitted to log in"
    yield url(user=f"refused_by_hba:{PASSWORD}"), well, Cause.LOGIN, "pg_hba.conf"
    yield url(user=f"full:{PASSWORD}"), well, Cause.FULL, 'role "full"'
    yield url(to="nosuch"), well, Cause.NO_DATABASE, '"nosuch"'
    yield url(to="closed"), well, Cause.NOT_NOW, '"closed"'
    yield url(to="guarded"), well, Cause.RIGHT, '"guarded"'
    yield url(options="-c%20nosuch%3D1"), well, Cause.PARAMETER, '"nosuch"'
    yield url(target_session_attrs="standby"), well, Cause.READ_ONLY, "target_session_attrs"
    yield url(sslmode="require"), well, Cause.NO_TLS, ""
    yield url("tls", sslmode="disable"), here["tls"], Cause.LOGIN, "insecure"
    yield from broken_tls(stage)


def broken_tls(stage: Stage) -> Iterator[tuple[str, str, Cause, str]]:
    """The same of servers that use TLS, to clients that look at their certificates."""
    own, url = stage.certificates, stage.url
    here = {where: f"127.0.0.1:{port}" for where, port in stage.ports.items()}
    full = {"sslmode": "verify-full", "sslrootcert": str(own.ca)}
    stranger = {**full, "sslrootcert": str(own.stranger)}
    yield url("tls", **stranger), here["tls"], Cause.UNTRUSTED, "issuer"
    yield url("tls", sslrootcert="system"), here["tls"], Cause.UNTRUSTED, "issuer"
    yield url("tls", at="localhost", **full), f"localhost:{stage.ports['tls']}", Cause.OTHER_HOST, "localhost"
    yield url("expired", **full), here["expired"], Cause.EXPIRED, "expired"
    yield url("wants client", **full), here["wants client"], Cause.CLOSED_TLS, ""
    yield url("direct", **stranger, sslnegotiation="direct"), here["direct"], Cause.UNTRUSTED, "issuer"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_a_database_that_cannot_be_reached_is_told_by_place_and_cause(stage: Stage, loop: str) -> None:
    for url, place, cause, said in broken(stage):
        reason = await reason_of(url, loop)
        assert reason.startswith(f"{place}: {cause}"), url
        assert said in reason, url
        assert PASSWORD not in reason
        assert "wrong" not in reason.replace(Cause.PASSWORD, ""), url


async def test_of_several_hosts_each_is_told(stage: Stage) -> None:
    hosts = f"127.0.0.1:{stage.ports['nobody']},nosuch.invalid:1,127.0.0.1:{stage.ports['postgres']}"
    reason = await reason_of(f"postgresql://app:wrong@{hosts}/postgres", "uvloop")
    assert [part.partition(" (")[0] for part in reason.split("; ")] == [
        f"127.0.0.1:{stage.ports['nobody']}: {Cause.REFUSED}",
        f"nosuch.invalid:1: {Cause.UNKNOWN_HOST}",
        f"127.0.0.1:{stage.ports['postgres']}: {Cause.PASSWORD}",
    ]


async def test_a_host_that_is_silent_leaves_time_for_the_next(stage: Stage) -> None:
    """A session of the next one is opened within the patience for all."""
    hosts = f"127.0.0.1:{stage.ports['silent']},127.0.0.1:{stage.ports['postgres']}"
    for more in ("", "?load_balance_hosts=random", "?target_session_attrs=prefer-standby&connect_timeout=2"):
        await open_and_close(f"postgresql://app:{PASSWORD}@{hosts}/postgres{more}")


async def test_a_gateway_logs_once_why_it_cannot_ask_a_database(stage: Stage, caplog: Any) -> None:
    database = Database(Project(database_url=stage.url(user="app:wrong"), jwt_secret=SECRET), "demo")
    for _ in range(5):
        with pytest.raises(Unavailable) as raised:
            async with database.connection():
                pass
        assert raised.value.message == AWAY
    await database.close()
    (facts,) = logged(caplog, "database_unavailable")
    assert facts["project"] == "demo"
    assert facts["error"].startswith(f"127.0.0.1:{stage.ports['postgres']}: {Cause.PASSWORD}")


async def test_a_gateway_logs_once_why_a_database_refuses_what_it_goes_on_without(
    stage: Stage, caplog: Any
) -> None:
    tables = Tables(Project(database_url=stage.url(), jwt_secret=SECRET), "demo")

    async def refused() -> list[Any]:
        async with tables._database.connection() as session:
            return list(await session.fetch("select * from pg_authid"))

    tables.catalogue.enabled = refused  # type: ignore[method-assign]
    for _ in range(3):
        assert await tables.is_enabled(Table("public", "orders")) is None
    await tables.close()
    (facts,) = logged(caplog, "database_unavailable")
    assert (facts["project"], Cause.RIGHT in facts["error"]) == ("demo", True)


async def test_a_session_that_breaks_is_told_with_its_server(stage: Stage) -> None:
    database = Database(Project(database_url=stage.url(), jwt_secret=SECRET))

    async def break_off() -> None:
        async with database.connection() as session, open_session(stage.superuser_url) as superuser:
            await superuser.execute(f"select pg_terminate_backend({session.get_server_pid()})")
            await session.fetchval("select pg_sleep(30)")

    with pytest.raises(Unavailable) as raised:
        await break_off()
    await database.close()
    assert raised.value.reason.startswith(f"127.0.0.1:{urlsplit(stage.superuser_url).port}: ")

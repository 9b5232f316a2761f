"""What a `database_url` asks for is done, or refused before anything starts: TLS, files, who connects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from realtime.causes.kinds import Cause
from realtime.errors import SettingError, Unavailable
from realtime.postgres.connector import Connector
from realtime.postgres.tls import check_url
from realtime.settings.database_url import parse_database_url
from tests.broken_postgres import PASSWORD, PATIENCE, Stage, broken_postgres, open_and_close, reason_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with broken_postgres(tmp_path_factory.mktemp("causes")) as stage:
        yield stage


async def test_what_managed_postgres_hands_out_connects(stage: Stage, tmp_path: Path) -> None:
    """A session is opened by each URL."""
    own = stage.certificates
    ours = {"sslcert": str(own.client_certificate), "sslkey": str(own.client_key)}
    passfile = tmp_path / "pgpass"
    passfile.write_text(f"127.0.0.1:{stage.ports['postgres']}:*:app:{PASSWORD}\n")
    passfile.chmod(0o600)
    for url in (
        stage.url(channel_binding="prefer", connect_timeout="5", application_name="shop"),
        stage.url(keepalives="1", keepalives_idle="30", tcp_user_timeout="1", gssencmode="disable"),
        stage.url(options="-c%20statement_timeout%3D5000"),
        stage.url(target_session_attrs="read-write"),
        stage.url(user="app", passfile=str(passfile)),
        stage.url("tls"),
        stage.url("tls", sslmode="require"),
        stage.url("tls", at="localhost", sslmode="verify-ca", sslrootcert=str(own.ca)),
        stage.url("tls", sslmode="verify-full", sslrootcert=str(own.ca)),
        stage.url("direct", sslmode="require", sslnegotiation="direct"),
        stage.url("wants client", sslmode="require", **ours),
        stage.url("wants client", **ours),
    ):
        check_url(parse_database_url(url, "database_url"), "database_url")
        await open_and_close(url)


async def test_the_systems_authorities_are_trusted_where_the_url_says_so(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(stage.certificates.ca))
    await open_and_close(stage.url("tls", sslrootcert="system"))
    reason = await reason_of(stage.url("tls", at="localhost", sslrootcert="system"), "asyncio")
    assert Cause.OTHER_HOST in reason


async def test_files_that_cannot_be_read_any_more_leave_the_last_ones_in_force(
    stage: Stage, tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(stage.certificates.ca.read_bytes())
    door = Connector(stage.url("tls", sslmode="verify-full", sslrootcert=str(ca)), fresh_seconds=0)
    for content in (None, b"half a fi", stage.certificates.stranger.read_bytes()):
        if content is not None:
            ca.write_bytes(content)
        if content == stage.certificates.stranger.read_bytes():  # which is right, and is taken
            with pytest.raises(Unavailable):
                await door.open(PATIENCE, {})
        else:
            await (await door.open(PATIENCE, {})).close(timeout=30)


async def test_ours_wins_over_what_the_url_asks_of_a_session(stage: Stage) -> None:
    door = Connector(
        stage.url(options="-c%20application_name%3Dx%20-c%20work_mem%3D1MB", application_name="y")
    )
    session = await door.open(PATIENCE, {"application_name": "ours"})
    try:
        assert await session.fetchval("show application_name") == "ours"
        assert await session.fetchval("show work_mem") == "1MB"
    finally:
        await session.close(timeout=30)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("sslmode=verify-full", "sslrootcert: missing for sslmode=verify-full; a file, or system"),
        ("sslrootcert=NONE&sslmode=require", "sslrootcert: NONE: No such file or directory"),
        ("sslrootcert=DIRECTORY", "sslrootcert: DIRECTORY: Is a directory"),
        ("sslrootcert=TEXT", "sslrootcert: TEXT: no certificates in PEM"),
        ("sslrootcert=EMPTY", "sslrootcert: EMPTY: no certificates in PEM"),
        ("sslrootcert=%C2%80", "sslrootcert: \x80: No such file or directory"),
        ("sslcrl=TEXT", "sslcrl: TEXT: no certificates in PEM"),
        ("sslcert=NONE", "sslcert: NONE: No such file or directory"),
        ("sslcert=TEXT", "sslcert: TEXT: no certificate and key in PEM"),
        ("sslcert=CERTIFICATE", "sslcert: CERTIFICATE: no certificate and key in PEM"),
        ("sslcert=CERTIFICATE&sslkey=TEXT", "sslcert: CERTIFICATE: no certificate and key in PEM"),
        ("sslcert=CERTIFICATE&sslkey=NONE", "sslcert: NONE: No such file or directory"),
        ("sslcert=CERTIFICATE&sslkey=OTHER", "sslcert: CERTIFICATE: the key belongs to another certificate"),
        ("passfile=DIRECTORY", "passfile: DIRECTORY: Is a directory"),
    ],
)
async def test_a_file_that_is_wrong_is_named_at_the_start(
    stage: Stage, tmp_path: Path, query: str, reason: str
) -> None:
    own = stage.certificates
    (tmp_path / "text").write_text(f"not a certificate, but {PASSWORD}")
    (tmp_path / "empty").touch()
    paths = {
        "NONE": tmp_path / "none",
        "DIRECTORY": tmp_path,
        "TEXT": tmp_path / "text",
        "EMPTY": tmp_path / "empty",
        "CERTIFICATE": own.certificate,
        "OTHER": own.client_key,
    }
    for word, path in paths.items():
        query, reason = query.replace(word, str(path)), reason.replace(word, str(path))
    url = parse_database_url(f"postgresql://app:{PASSWORD}@db/x?{query}", "projects.demo.database_url")
    with pytest.raises(SettingError) as raised:
        check_url(url, "projects.demo.database_url")
    assert str(raised.value).startswith(f"projects.demo.database_url: {reason}")
    assert PASSWORD not in str(raised.value)


@contextmanager
def any_name(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> Iterator[None]:
    def no_name() -> str:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("getpass.getuser", no_name)
        yield


async def test_who_runs_the_process_may_have_no_name(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"postgresql://127.0.0.1:{stage.ports['postgres']}/postgres"
    for error in (KeyError, OSError):
        with any_name(monkeypatch, error):
            with pytest.raises(SettingError, match="database_url: no user"):
                check_url(parse_database_url(url, "database_url"), "database_url")
            with pytest.raises(Unavailable):
                await open_and_close(url)

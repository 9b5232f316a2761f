"""What a `database_url` says, as managed Postgres hands it out, and what is told of one that is wrong.

Long by its tables: every parameter of libpq stands in one of them.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from realtime.errors import SettingError
from realtime.process.reload import compare
from realtime.settings.config import load
from realtime.settings.database_parameters import CARRIED_OUT, SAME_AS, WITHOUT_EFFECT
from realtime.settings.database_url import LOCAL, MOST_CONNECT_SECONDS, DatabaseUrl, parse_database_url
from tests.docs_fixture import table

SETTING = "projects.demo.database_url"
SECRET = "a secret of more than thirty-two bytes"
# As `psql` of Postgres 18 knows them.
LIBPQ = """
    service servicefile user password passfile channel_binding connect_timeout dbname host hostaddr port
    client_encoding options application_name fallback_application_name keepalives keepalives_idle
    keepalives_interval keepalives_count tcp_user_timeout sslmode sslnegotiation sslcompression sslcert sslkey
    sslcertmode sslpassword sslrootcert sslcrl sslcrldir sslsni requirepeer require_auth
    min_protocol_version max_protocol_version ssl_min_protocol_version ssl_max_protocol_version gssencmode
    krbsrvname gsslib gssdelegation replication target_session_attrs load_balance_hosts scram_client_key
    scram_server_key oauth_issuer oauth_client_id oauth_client_secret oauth_scope sslkeylogfile
"""


def read(url: str) -> DatabaseUrl:
    return parse_database_url(url, SETTING)


def refusal(url: str) -> str:
    with pytest.raises(SettingError) as raised:
        read(url)
    assert raised.value.setting == SETTING
    return raised.value.reason


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("postgresql://db", DatabaseUrl((("db", 5432),))),
        ("postgres://db:1/", DatabaseUrl((("db", 1),))),
        ("postgresql://u:p@db/app", DatabaseUrl((("db", 5432),), "u", "p", "app")),
        ("postgresql://u:@db/app", DatabaseUrl((("db", 5432),), "u", None, "app")),
        ("postgresql://u@[::1]:7/app", DatabaseUrl((("::1", 7),), "u", None, "app")),
        ("postgresql://[fe80::1%25eth0]/app", DatabaseUrl((("fe80::1%eth0", 5432),), database="app")),
        ("postgresql://a:1,b,[::2]:3/x", DatabaseUrl((("a", 1), ("b", 5432), ("::2", 3)), database="x")),
        ("postgresql://a,b/x?port=7", DatabaseUrl((("a", 7), ("b", 7)), database="x")),
        ("postgresql:///x?host=a,b&port=1,2", DatabaseUrl((("a", 1), ("b", 2)), database="x")),
        ("postgresql:///x?host=::1", DatabaseUrl((("::1", 5432),), database="x")),
        ("postgresql://", DatabaseUrl(tuple((host, 5432) for host in LOCAL))),
        ("postgresql://:7/x", DatabaseUrl(tuple((host, 7) for host in LOCAL), database="x")),
        ("postgresql:///x?host=/var/run/pg", DatabaseUrl((("/var/run/pg", 5432),), database="x")),
        ("postgresql://u@%2Fvar%2Frun:7/x", DatabaseUrl((("/var/run", 7),), "u", None, "x")),
        ("postgresql://?user=u&password=p%26&dbname=x&host=h", DatabaseUrl((("h", 5432),), "u", "p&", "x")),
        ("postgresql://h?database=x", DatabaseUrl((("h", 5432),), database="x")),
        (
            "postgresql://%C3%BC:%23%2F%3F%40%3A%25@h/%2F%20a",
            DatabaseUrl((("h", 5432),), "ü", "#/?@:%", "/ a"),
        ),
        ("postgresql://me@server:p@ss@h/x", DatabaseUrl((("h", 5432),), "me@server", None, "x")),
        ("postgresql://u:a+b@h/x", DatabaseUrl((("h", 5432),), "u", "a+b", "x")),
    ],
)
def test_a_url_says_where_a_database_is_and_how_to_get_in(url: str, meant: DatabaseUrl) -> None:
    if "me@server" in url:  # what stands before the last @ is the login, and its first colon divides it
        assert (read(url).user, read(url).password, read(url).hosts) == ("me@server", "p@ss", meant.hosts)
    else:
        assert read(url) == meant
        assert read(url).password == meant.password


@pytest.mark.parametrize(
    ("query", "facts"),
    [
        # Neon, by its console's parts
        ("sslmode=require&channel_binding=prefer", {"sslmode": "require"}),
        ("sslmode=require&options=endpoint%3Dep-cool-1", {"options": "endpoint=ep-cool-1"}),
        # Supabase, Heroku, Render, DigitalOcean, RDS, Azure, Crunchy
        ("sslmode=require&connect_timeout=10", {"sslmode": "require", "connect_seconds": 10}),
        ("ssl=true", {"sslmode": "require"}),
        ("requiressl=1", {"sslmode": "require"}),
        ("requiressl=0", {"sslmode": "prefer"}),
        (
            "sslmode=verify-full&sslrootcert=/etc/ca.pem",
            {"sslmode": "verify-full", "tls": {"sslrootcert": "/etc/ca.pem"}},
        ),
        ("sslrootcert=system", {"sslmode": "verify-full", "tls": {"sslrootcert": "system"}}),
        ("sslmode=verify-full&sslrootcert=system", {"sslmode": "verify-full"}),
        ("application_name=shop&fallback_application_name=x", {"more": {}}),
        ("keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=5", {"more": {}}),
        ("tcp_user_timeout=10000&gssencmode=disable&sslsni=1&sslcompression=0", {"more": {}}),
        ("target_session_attrs=read-write", {"more": {"target_session_attrs": "read-write"}}),
        ("sslmode=require&sslnegotiation=direct", {"is_tls_direct": True}),
        ("load_balance_hosts=random", {"is_balanced": True}),
        ("connect_timeout=0", {"connect_seconds": None}),
        ("connect_timeout=-1", {"connect_seconds": None}),
        ("connect_timeout=999999999", {"connect_seconds": MOST_CONNECT_SECONDS}),
        ("passfile=/run/pgpass", {"more": {"passfile": "/run/pgpass"}}),
        ("krbsrvname=pg&gsslib=gssapi", {"more": {"krbsrvname": "pg", "gsslib": "gssapi"}}),
        (
            "sslcert=/c&sslkey=/k&sslpassword=p&sslcrl=/r&ssl_min_protocol_version=TLSv1.3",
            {
                "tls": {
                    "sslcert": "/c",
                    "sslkey": "/k",
                    "sslpassword": "p",
                    "sslcrl": "/r",
                    "ssl_min_protocol_version": "TLSv1.3",
                }
            },
        ),
        ("options=-c%20statement_timeout%3D5s", {"options": "-c statement_timeout=5s"}),
        ("sslrootcert=&options=", {"tls": {}, "options": None}),
    ],
)
def test_what_managed_postgres_hands_out_is_taken(query: str, facts: dict[str, Any]) -> None:
    url = read(f"postgresql://u:p@db/app?{query}")
    assert {name: getattr(url, name) for name in facts} == facts


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("channel_binding=require", "channel_binding: the driver knows no channel binding"),
        ("channel_binding=maybe", "channel_binding: "),
        ("connect_timeout=soon", "connect_timeout: expected seconds"),
        ("connect_timeout=1.5", "connect_timeout: expected seconds"),
        ("sslmode=no-verify", "sslmode: expected disable or"),
        ("sslmode=", "sslmode: expected disable or"),
        ("sslmode=require&sslrootcert=system", "sslmode: only verify-full goes with sslrootcert=system"),
        ("sslmode=disable&sslrootcert=system", "sslmode: only verify-full goes with sslrootcert=system"),
        ("sslnegotiation=direct", "sslnegotiation: direct needs"),
        ("sslmode=require&ssl=true", "sslmode: given twice"),
        ("sslmode=require&sslmode=disable", "sslmode: given twice"),
        ("user=x", "user: given twice"),
        ("password=x", "password: given twice"),
        ("dbname=x", "dbname: given twice"),
        ("host=x", "host: given twice"),
        ("port=5", "port: given twice"),
        ("service=shop", "service: service files are not read"),
        ("hostaddr=10.0.0.1", "hostaddr: not supported"),
        ("require_auth=scram-sha-256", "require_auth: "),
        ("requirepeer=postgres", "requirepeer: "),
        ("gssencmode=require", "gssencmode: "),
        ("sslsni=0", "sslsni: "),
        ("sslcertmode=require", "sslcertmode: "),
        ("sslkey=/k", "sslkey: needs sslcert"),
        ("replication=database", "replication: "),
        ("client_encoding=latin1", "client_encoding: "),
        ("ssl_max_protocol_version=SSLv3", "ssl_max_protocol_version: "),
        ("target_session_attrs=master", "target_session_attrs: "),
        ("gsslib=sspi", "gsslib: "),
        ("ssl=false", "ssl: unknown parameter"),
        ("pgbouncer=true", "pgbouncer: unknown parameter"),
        ("connection_limit=1", "connection_limit: unknown parameter"),
        ("statement_timeout=5000", "statement_timeout: unknown parameter"),
        ("oauth_client_secret=s3cret", "oauth_client_secret: unknown parameter"),
        ("sslmode", "expected name=value"),
        ("&", "expected name=value"),
        ("S3CRET=1", "expected name=value"),
        ("s3cret pass=1", "expected name=value"),
        ("user=a@b", "cannot be understood"),
        ("options=%ff", "not UTF-8"),
        ("options=%00", "%00"),
        ("options=\udcff", "not UTF-8"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_name(query: str, reason: str) -> None:
    told = refusal(f"postgresql://u:s3same@db:5432/app?{query}")
    assert told.startswith(reason)
    assert "s3same" not in told
    assert "s3cret" not in told.lower().replace("oauth_client_secret", "")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://db",
        "postgresql:/db",
        "postgresql://a:0/x",
        "postgresql://a:65536/x",
        "postgresql://a:999999/x",
        "postgresql://a b/x",
        "postgresql://a\tb/x",
        "postgresql://a,,b/x",
        "postgresql://::1/x",
        "postgresql://[::1/x",
        "postgresql://u:p@" + "h" * 64 + "/x",
        "postgresql://db/a/b",
        "postgresql://db/a@b",
        "postgresql://db/x#y",
        "postgresql://db/x?host=a,b&port=1,2,3",
        "postgresql:///x?host=a,b&port=1,2,3",
        "postgresql:///x?port=",
        "postgresql://db/" + "x" * 10_000,
    ],
)
def test_what_is_no_url_of_a_database_is_refused(url: str) -> None:
    if url.endswith("port="):
        assert read(url).hosts[0] == (LOCAL[0], 5432)  # as libpq: empty is not given
    else:
        refusal(url)


@pytest.mark.parametrize(
    "url",
    ["u:s3same", "u:1s3same/@h/x", "u:12?s3same=1@h/x", "u:12/s3same@h/x", "u:12#s3same@h", "u:s3same@:h:/x"],
)
def test_a_password_that_is_not_encoded_is_told_nowhere(url: str) -> None:
    assert "s3same" not in refusal(f"postgresql://{url}")


def test_a_url_never_shows_its_secrets() -> None:
    url = read("postgresql://u:s3same@h/x?sslcert=/c&sslpassword=s3same&options=-c%20x.key%3Ds3same")
    assert "s3same" not in repr(url)
    assert url.server_name == "h:5432"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://u:p@db/x", "db:5432"),
        ("postgresql://a,b:1/x", "a:5432, b:1"),
        ("postgresql://[::1]/x", "[::1]:5432"),
        ("postgresql:///x?host=/run/pg", "/run/pg/.s.PGSQL.5432"),
    ],
)
def test_hosts_are_written_with_their_ports(url: str, name: str) -> None:
    assert read(url).server_name == name


def test_every_parameter_of_libpq_is_taken_or_refused_by_its_name() -> None:
    for name in LIBPQ.split():
        if name not in CARRIED_OUT and name not in WITHOUT_EFFECT:
            assert refusal(f"postgresql://db/x?{name}=1").startswith(f"{name}: ")
    assert set(CARRIED_OUT) | set(WITHOUT_EFFECT) <= set(LIBPQ.split())


def test_the_documents_tell_what_becomes_of_every_parameter() -> None:
    documented = set()
    for names, _ in table("docs/operations.md", "Addresses of databases"):
        documented |= set(re.findall(r"\w+", names))
    assert documented == set(CARRIED_OUT) | set(WITHOUT_EFFECT)
    assert set(SAME_AS) == {"database", "ssl", "requiressl"}


def project(database_url: str, listen_url: str = "postgresql://db/x") -> str:
    return (
        f"[projects.demo]\njwt_secret = '{SECRET}'\n"
        f"database_url = '{database_url}'\nlisten_url = '{listen_url}'\n"
    )


@pytest.mark.parametrize("name", ["database_url", "listen_url"])
def test_the_start_and_a_reload_name_setting_and_parameter(name: str) -> None:
    wrong = project(**{"database_url": "postgresql://db/x", name: "postgresql://u:s3same@db/x?pgbouncer=1"})
    with pytest.raises(SettingError) as raised:
        load(wrong, {})
    assert str(raised.value).startswith(f"projects.demo.{name}: pgbouncer: unknown parameter")
    assert "s3same" not in str(raised.value)


def test_parameters_are_a_change_that_a_reload_sees() -> None:
    before, after = (load(project(f"postgresql://db/x?connect_timeout={n}"), {}) for n in (1, 2))
    assert compare(before, after).changed == ["demo"]

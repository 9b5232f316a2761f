"""How the notifier connects: its sessions end with their client, and Postgres never chooses a wrong plan.

A leading session must not outlive a lost host, nor a statement its client, since either would delay the next
leader. LISTEN and the lead need a direct connection.
"""

from __future__ import annotations

from realtime.postgres.connector import connector_for
from realtime.postgres.session import OwnSession
from realtime.resources import packaged_text

CONNECT_TIMEOUT_SECONDS = 5
COMMAND_TIMEOUT_SECONDS = 10

_SESSION = {
    "client_connection_check_interval": "1s",
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "5s",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "lock_timeout": "0",
    "statement_timeout": "0",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "search_path": "pg_catalog",
}

# `transaction_timeout` exists since Postgres 17; as a start option, older servers would refuse it.
_SESSION_OF_17 = (
    "select set_config(name, '0', false) from pg_catalog.pg_settings where name = 'transaction_timeout'"
)

# The outbox is read through its indexes, whatever its statistics say: these may be an hour old.
_PLAN = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "synchronous_commit": "on",
}


def application_name(project: str) -> str:
    """Return the name of a project's sessions in pg_stat_activity, which keeps 63 bytes."""
    return f"realtime notifier {project}".strip()[:63]


async def connect(url: str, project: str = "") -> OwnSession:
    """Open a session of the notifier; raises Unavailable, or asyncpg's error of the first statement."""
    settings = {"application_name": application_name(project), **_SESSION, **_PLAN}
    connection = await connector_for(url).open(
        CONNECT_TIMEOUT_SECONDS, settings, command_timeout=COMMAND_TIMEOUT_SECONDS
    )
    try:
        await connection.execute(_SESSION_OF_17)
    except BaseException:  # also if cancelled: nothing else would end the session
        connection.terminate()
        raise
    return connection


def query(name: str) -> str:
    """Return the text of one of the notifier's statements, `notifier/feed/sql/NAME.sql`."""
    return packaged_text("notifier.feed", f"sql/{name}.sql")

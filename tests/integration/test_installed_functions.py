"""What a migration installs: the same functions for as long as the schema's version is the same."""

from __future__ import annotations

import hashlib

from realtime.postgres.migrations import SCHEMA_VERSION, migrate
from tests.postgres_fixture import Database

# A database that has this version is not migrated again: another text of a function would never reach it.
VERSION = 7
DIGEST = "9acd0cf638f35e2129cd9b5822fbf3cf54cbd358e09490fb89acac11dc42b5e4"

# But for those of one expression, which Postgres writes anew in its own words.
FUNCTIONS = """
select pg_get_functiondef(oid) from pg_proc
where pronamespace = 'realtime'::regnamespace and prosqlbody is null order by oid::regprocedure::text
"""


async def test_functions_change_with_the_version_of_the_schema_only(database: Database) -> None:
    await migrate(database.superuser)
    functions = [row[0] for row in await database.superuser.fetch(FUNCTIONS)]
    digest = hashlib.sha256("\n".join(functions).encode()).hexdigest()
    assert (SCHEMA_VERSION, digest) == (VERSION, DIGEST), "raise SCHEMA_VERSION, then write both here"

"""`realtime types` by a real catalogue: rows as Postgres' to_jsonb writes them fit the types, for a compiler.

The compiler is the one of the JavaScript client, from its `node_modules`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from realtime.channels import Event, Table
from realtime.cli.declarations import Integers, declarations
from realtime.postgres.column_types import read_typed_tables
from realtime.postgres.pool import Database as Pool
from realtime.settings.config import Project
from tests.docs_fixture import ROOT
from tests.postgres_fixture import Database

CLIENT = ROOT / "clients/javascript"
TSC = CLIENT / "node_modules/.bin/tsc"
STRICTEST = (
    *("--strict", "--noEmit", "--target", "es2022", "--module", "es2022", "--moduleResolution", "bundler"),
    *("--lib", "es2022,dom,esnext.disposable", "--types", ""),
)

TABLES = """
    create schema audit;
    create type mood as enum ('happy', 'so "so"', E'new\\nline', '*/');
    create type place as (street text, "zip code" int8, moods mood[]);
    create domain email as text not null check (value like '%@%');
    create domain grid as numeric(10, 2)[][];
    create table things (
        id bigint generated always as identity primary key,
        small smallint not null, plain integer, real8 float8 not null, exact numeric,
        money numeric(12, 2) not null,
        flag boolean not null, name text, tag char(3) not null, at timestamptz not null, day date,
        raw bytea not null, spread int4range not null, doc jsonb, text_doc json not null,
        mood mood not null, moods mood[] not null, place place, mail email, cells grid,
        numbers int8[] not null, vector int2vector not null,
        twice integer not null generated always as (small * 2) stored,
        "odd name" uuid not null, "*/ x: evil" text, "__proto__" int4 not null
    );
    create table audit.logins (id integer primary key);
    create table "we.ird" (id integer primary key, hidden text);
    create table never ();
    insert into things (small, plain, real8, exact, money, flag, name, tag, at, day, raw, spread, doc,
        text_doc, mood, moods, place, mail, cells, numbers, vector, "odd name", "*/ x: evil", "__proto__")
    values
        (1, 2, 1.5, 3.25, 9.99, true, 'Zoë', 'ab', now(), '2026-01-31', '\\x00ff', '[1,5)',
         '{"a": [1, null]}', '[{}]',
         'so "so"', array['happy', null]::mood[], row('Main', 12345, array['*/']::mood[])::place, 'a@b',
         '{{1.5,2},{3,null}}', '{1,null}', '1 2', gen_random_uuid(), 'x', 7),
        (1, null, 2, null, 1, false, null, 'x', now(), null, '', 'empty', null, 'null',
         E'new\\nline', '{}', null, 'a@b', null, '{}', '', gen_random_uuid(), null, 7);
"""


@pytest.fixture
def tsc() -> Path:
    """The compiler of the JavaScript client; only CI insists on it."""
    if not TSC.exists():
        why = "there is no TypeScript compiler: npm ci in clients/javascript"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    return TSC


@pytest.fixture
async def things(database: Database) -> Database:
    await database.superuser.execute(TABLES)
    return database


async def types_of(url: str, integers: Integers = Integers.NUMBER) -> str:
    pool = Pool(Project(database_url=url))
    try:
        return declarations(await read_typed_tables(pool), integers)
    finally:
        await pool.close()


async def compiled(tsc: Path, directory: Path, **files: str) -> str:
    """What the compiler says of files, at its strictest."""
    for name, text in files.items():
        (directory / f"{name}.ts").write_text(text)
    paths = [str(directory / f"{name}.ts") for name in files]
    done = await asyncio.to_thread(
        subprocess.run, [str(tsc), *STRICTEST, *paths], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


async def test_the_types_are_those_of_the_catalogue(things: Database) -> None:
    lines = (await types_of(things.url)).splitlines()
    for line in (
        "    id: number;",
        "    plain: number | null;",
        r'    mood: "happy" | "so \"so\"" | "new\u000aline" | "*/";',
        "    mail: string;",
        "    cells: (number | null)[][] | null;",
        "    vector: (number | null)[];",
        "    text_doc: Json;",
        "    twice: number;",
        '    "odd name": string;',
        '    "*/ x: evil": string | null;',
        "  things: {",
        '  "audit.logins": {',
        r'  "\"we.ird\"": {',
        "  never: {",
    ):
        assert line in lines, line


async def test_rows_as_postgres_writes_them_fit_the_types(
    things: Database, tsc: Path, tmp_path: Path
) -> None:
    rows = [row[0] for row in await things.superuser.fetch("select to_jsonb(t)::text from things t")]
    assert len(rows) == 2
    # A property `__proto__` in a literal would set the prototype.
    literals = [row.replace('"__proto__"', '["__proto__"]') for row in rows]
    use = 'import type { Db } from "./db";\n'
    use += "".join(f'export const row{i}: Db["things"] = {row};\n' for i, row in enumerate(literals))
    assert await compiled(tsc, tmp_path, db=await types_of(things.url), use=use) == ""


@pytest.mark.parametrize("integers", Integers)
async def test_wrong_uses_of_a_row_do_not_compile(
    things: Database, tsc: Path, tmp_path: Path, integers: Integers
) -> None:
    wrong = [
        "row.nothing",
        "row.name.length",
        "row.mood satisfies 'happy'",
        "row.moods[0] satisfies string",
        "row.twice satisfies string",
    ]
    use = 'import type { Db } from "./db";\ndeclare const row: Db["things"];\n'
    use += "".join(f"export const x{i} = {one};\n" for i, one in enumerate(wrong))
    output = await compiled(tsc, tmp_path, db=await types_of(things.url, integers), use=use)
    assert "db.ts" not in output
    assert [output.count(f"use.ts({i + 3},") for i in range(len(wrong))] == [1] * len(wrong), output


async def test_the_client_takes_the_types(things: Database, tsc: Path, tmp_path: Path) -> None:
    use = f"""
        import {{ connect }} from "{CLIENT}/src/index.js"
        import type {{ Db }} from "./db"
        const rt = connect<Db>("http://host/projects/demo", {{ token: "" }})
        rt.table("things").on("change", (change) => {{
            if (change.event === "UPDATE") change.old?.plain satisfies number | null | undefined
            change.data.mail satisfies string
            // @ts-expect-error no column has this name
            change.data.nothing
        }})
        rt.table("audit.logins").on("change", ({{ data }}) => data.id satisfies number)
        rt.table('"we.ird"')
        // @ts-expect-error no table has this name
        rt.table("nothing")
    """
    assert await compiled(tsc, tmp_path, db=await types_of(things.url), use=use) == ""


async def test_a_table_has_the_columns_that_leave_the_database(things: Database) -> None:
    await things.catalogue.enable(Table("public", "we.ird"), list(Event), ["id"], 1000)
    assert "hidden" not in await types_of(things.url)


async def test_a_role_sees_only_its_tables_and_changes_nothing(things: Database) -> None:
    await things.superuser.execute(
        "create role reader login password 'reader'; grant usage on schema audit to reader;"
        " grant select on audit.logins to reader"
    )
    try:
        text = await types_of(things.url_of("reader"))
        assert '"audit.logins"' in text
        assert "things" not in text
        assert not await things.superuser.fetchval("select to_regnamespace('realtime') is not null")
    finally:
        await things.superuser.execute("drop owned by reader; drop role reader")

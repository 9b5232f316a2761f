"""Writers: short and long transactions, committed and rolled back, on three tables, directly in Postgres.

Their work is drawn from the seed, in bursts and pauses; which row a statement finds depends on the database.
They survive all errors of Postgres and keep no record of their writes: the truth is the contents of the
tables.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any

import asyncpg

from tests.chaos.ledger import FAILURES, TABLES
from tests.chaos.referee import Referee
from tests.chaos.world import World

ROLLED_BACK = 0.15
BULK_ROWS = 500
CROWDED = 1_500  # rows of a table above which bulk statements delete
AGAIN_SECONDS = 0.3
LONG_SECONDS = (1.0, 5.0)
BURST = (3, 40)  # transactions
LONG_NOTE = 4_000
SETTINGS = {"lock_timeout": "2s", "application_name": "chaos writer"}

SOMEWHERE = "offset floor({place} * (select count(*) from {table}))::bigint limit 1"
INSERT = "insert into {table} (note) values ($1)"
UPDATE = "update {table} set version = version + 1, note = $1 where id = (select id from {table} {where})"
DELETE = (
    "with gone as (delete from {table} where id in ({victims}) returning id, version)"
    " insert into graves select '{table}', id, version from gone"
)
BULK_INSERT = "insert into {table} (note) select $1 || ' ' || i from generate_series(1, {count}) i"
BULK_UPDATE = (
    "update {table} set version = version + 1, note = $1 || ' ' || id where id in"
    " (select id from {table} order by id desc limit {count} for update skip locked)"
)
OLDEST = "select id from {table} order by id limit {count} for update skip locked"


class Broken(Exception):
    """A transaction that is to be rolled back."""


class Writer:
    """A writer, which uses one session after the other and runs one transaction after the other."""

    def __init__(
        self,
        name: str,
        database_url: Callable[[], str],
        world: World,
        referee: Referee,
        dice: Random,
        pace: float,
    ) -> None:
        self.name = name
        self._database_url = database_url
        self._world = world
        self._referee = referee
        self._dice = dice
        self._pace = pace  # transactions a second, on the average
        self._session: Any = None  # an asyncpg connection
        self._written = 0  # notes, all different
        self._changes = 0  # of this transaction

    def __repr__(self) -> str:
        return f"<Writer {self.name}, {self._written} notes>"

    async def run(self) -> None:
        """Write until calm begins."""
        while not self._world.calm.is_set():
            with suppress(*FAILURES):
                await self._world.whole.wait()
                self._session = await asyncpg.connect(
                    self._database_url(), timeout=5, command_timeout=20, server_settings=SETTINGS
                )
                try:
                    await self._write()
                finally:
                    self._session.terminate()
            await self._world.pause(AGAIN_SECONDS)

    async def _write(self) -> None:
        """Write burst after burst, until calm or a restore of the database begins."""
        loop = asyncio.get_running_loop()
        while self._world.whole.is_set() and not self._world.calm.is_set():
            count, began = self._dice.randint(*BURST), loop.time()
            for _ in range(count):
                if not self._world.whole.is_set() or self._world.calm.is_set():
                    return
                await self._transact(self._drawn())
            await self._world.pause(count / self._pace - (loop.time() - began))

    def _drawn(self) -> Callable[[], Awaitable[None]]:
        kinds = {
            self._short: 70,
            self._brief_life: 10,
            self._savepoint: 10,
            self._long: 0.7,
            self._bulk: 1.5,
        }
        return self._dice.choices(list(kinds), list(kinds.values()))[0]

    async def _transact(self, content: Callable[[], Awaitable[None]]) -> None:
        self._changes = 0
        wanted = self._dice.random() >= ROLLED_BACK
        try:
            async with self._session.transaction():
                await content()
                if not wanted:
                    raise Broken
        except Broken:
            self._referee.count("rollbacks")
        except (asyncpg.PostgresError, TimeoutError):
            # A lock that was not granted, or a lost session, which the next statement reports.
            self._referee.count("broken")
            if self._session.is_closed():
                raise
        else:
            self._referee.count("transactions")
            self._referee.count("changes", self._changes)

    async def _short(self) -> None:
        for _ in range(self._dice.choice((1, 1, 1, 2, 3))):
            await self._one()

    async def _one(self, table: str = "") -> None:
        """Change one row, or none if another writer was faster."""
        table = table or self._dice.choice(TABLES)
        somewhere = SOMEWHERE.format(table=table, place=self._dice.random() ** 2)
        kind = self._dice.random()
        if kind < 0.35:
            await self._execute(INSERT.format(table=table), self._note())
        elif kind < 0.65:
            await self._execute(UPDATE.format(table=table, where=somewhere), self._note())
        elif kind < 0.75:  # one of a few rows that all writers change
            hot = f"order by id limit 1 offset {self._dice.randrange(3)}"
            await self._execute(UPDATE.format(table=table, where=hot), self._note())
        else:
            await self._execute(DELETE.format(table=table, victims=f"select id from {table} {somewhere}"))

    async def _brief_life(self) -> None:
        """Insert a row and delete it in the same transaction."""
        table = self._dice.choice(TABLES)
        id = await self._session.fetchval(INSERT.format(table=table) + " returning id", self._note())
        self._changes += 1
        if self._dice.random() < 0.5:
            await self._execute(UPDATE.format(table=table, where=f"where id = {id}"), self._note())
        await self._execute(DELETE.format(table=table, victims=str(id)))

    async def _savepoint(self) -> None:
        await self._one()
        changes = self._changes
        try:
            async with self._session.transaction():
                await self._short()
                if self._dice.random() < 0.6:
                    raise Broken
        except Broken:
            self._changes = changes
        await self._one()

    async def _long(self) -> None:
        """Keep a transaction open while others commit."""
        await self._short()
        if not await self._world.stay_open(self._dice.uniform(*LONG_SECONDS)):
            raise Broken
        await self._short()

    async def _bulk(self) -> None:
        table, count = self._dice.choice(TABLES), self._dice.randint(BULK_ROWS // 2, BULK_ROWS)
        crowd = await self._session.fetchval(f"select count(*) from {table}")
        if crowd > CROWDED:
            victims = OLDEST.format(table=table, count=2 * count)
            await self._execute(DELETE.format(table=table, victims=victims))
        elif self._dice.random() < 0.5:
            await self._execute(BULK_INSERT.format(table=table, count=count), self._note())
        else:
            await self._execute(BULK_UPDATE.format(table=table, count=count), self._note())

    async def _execute(self, statement: str, *arguments: str) -> None:
        done = await self._session.execute(statement, *arguments)
        self._changes += int(done.rpartition(" ")[2])

    def _note(self) -> str:
        self._written += 1
        more = "x" * self._dice.randrange(LONG_NOTE) if self._dice.random() < 0.02 else ""
        return f"{self.name} {self._written} {self._dice.randrange(10**6)} {more}"

"""Commits of single rows at a rate, by pgbench: which rows were inserted, and when each INSERT returned."""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench import pgbench

ROWS_A_WRITER = 1_000_000
COMMITS_OF_A_WRITER = 500  # a second, of one of several writers
INSERT_MICROSECONDS = 700  # about; a pause is as much shorter

INSERT = """
\\set n :n + 1
\\set id :first + :client_id * {rows} + :n
{pause}
insert into {table} (id, customer, amount, note) values (:id, :client_id, 12.50, 'a note of some length');
"""
PAUSE = "\\set pause random({least}, {most})\n\\sleep :pause us"


@dataclass(frozen=True, slots=True)
class Pace:
    """Commits a second of all writers together, and for how long; `lone` ones are never close together.

    Lone commits come by one writer, after pauses of half the mean to one and a half; others as by chance.
    """

    rate: float
    seconds: int
    writers: int = 1
    lone: bool = False

    @classmethod
    def of_several(cls, rate: int, seconds: int) -> Pace:
        """Return the pace of as many writers as such a rate needs."""
        return cls(rate, seconds, max(1, math.ceil(rate / COMMITS_OF_A_WRITER)))


@dataclass(frozen=True, slots=True)
class Written:
    """When each INSERT returned, in nanoseconds since 1970, by the row's id."""

    returned: dict[int, int]
    rate: float  # commits a second, in fact

    def __len__(self) -> int:
        return len(self.returned)


async def write(url: str, table: str, pace: Pace, first: int) -> Written:
    """Insert rows into a table, with ids above `first`; return what was committed."""
    with tempfile.TemporaryDirectory(prefix="realtime-bench-") as name:
        directory = Path(name)
        script = directory / "script.sql"
        insert = INSERT.format(rows=ROWS_A_WRITER, table=table, pause=_pause(pace))
        script.write_text(insert)
        run = await pgbench.run(
            url,
            script,
            pace.writers,
            pace.seconds,
            *("--protocol=prepared", "--random-seed=1", "--jobs=1", "-D", "n=0", "-D", f"first={first}"),
            *("--log", f"--log-prefix={directory / 'log'}"),
            *(() if pace.lone else (f"--rate={pace.rate}",)),
        )
        return Written(returned(_lines(directory / f"log.{run.pid}"), first), run.rate)


def returned(log: Iterable[str], first: int) -> dict[int, int]:
    """Return when each INSERT returned, from pgbench's log: a writer's n-th line is its n-th row."""
    rows: defaultdict[int, int] = defaultdict(int)
    found = {}
    for line in log:
        writer, _, _, _, seconds, microseconds, *_ = line.split()
        rows[int(writer)] += 1
        found[first + int(writer) * ROWS_A_WRITER + rows[int(writer)]] = (
            int(seconds) * 1_000_000 + int(microseconds)
        ) * 1_000
    return found


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def _pause(pace: Pace) -> str:
    if not pace.lone:
        return ""
    mean = 1e6 / pace.rate
    least, most = (max(1, round(mean * part - INSERT_MICROSECONDS)) for part in (0.5, 1.5))
    return PAUSE.format(least=least, most=most)

"""What a Postgres snapshot can see, as ranges of transaction ids.

A batch is what snapshot S2 sees and S1 did not: no change is lost or taken twice, whichever transaction
commits first, and a long transaction delays no other. Postgres returns snapshots as text; the feed turns the
ranges into index scans, which never touch the rows of transactions that are still running.
"""

from __future__ import annotations

from typing import NamedTuple

Range = tuple[int, int]


class Snapshot(NamedTuple):
    """Sees every transaction before `xmax` except `running`; `xmin` is the oldest running one, or `xmax`."""

    xmin: int
    xmax: int
    running: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, self.running))}"


NOTHING = Snapshot(1, 1, ())


def parse_snapshot(text: str) -> Snapshot:
    """Read a `pg_snapshot` as Postgres prints it: `xmin:xmax:xip,xip,...`, ascending."""
    xmin, xmax, running = text.split(":")
    return Snapshot(int(xmin), int(xmax), tuple(map(int, running.split(","))) if running else ())


def seen_since(earlier: Snapshot, later: Snapshot) -> list[Range]:
    """Return the transaction ids that `later` sees and `earlier` did not, as inclusive ranges, ascending.

    The ranges include ids of aborted transactions, which have no visible rows.
    """
    still_running = set(later.running)
    finished = [(xid, xid) for xid in earlier.running if xid not in still_running and xid < later.xmax]
    return finished + _without(earlier.xmax, later.xmax - 1, later.running)


def bounds(ranges: list[Range]) -> tuple[list[str], list[str]]:
    """Return the low and the high ends of ranges, as text that Postgres reads as `xid8`."""
    return [str(low) for low, _ in ranges], [str(high) for _, high in ranges]


def _without(first: int, last: int, holes: tuple[int, ...]) -> list[Range]:
    ranges = []
    for hole in holes:
        if first <= hole <= last:
            if first < hole:
                ranges.append((first, hole - 1))
            first = hole + 1
    if first <= last:
        ranges.append((first, last))
    return ranges

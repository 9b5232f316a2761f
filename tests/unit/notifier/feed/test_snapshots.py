import random
from itertools import combinations, pairwise

import pytest

from notifier.feed.snapshots import NOTHING, Snapshot, bounds, parse_snapshot, seen_since


def is_visible(xid: int, snapshot: Snapshot) -> bool:
    return xid < snapshot.xmax and xid not in snapshot.running


def expand(ranges) -> list[int]:
    return [xid for low, high in ranges for xid in range(low, high + 1)]


def consecutive_snapshots(chance: random.Random, steps: int) -> list[Snapshot]:
    """Snapshots as Postgres takes them: `xmax` follows the last transaction that ended."""
    running: set[int] = set()
    next_xid, xmax = chance.randint(3, 6), 3
    snapshots = []
    for _ in range(steps):
        for _ in range(chance.randint(0, 4)):
            if running and chance.random() < 0.5:
                ended = chance.choice(sorted(running))
                running.remove(ended)
                xmax = max(xmax, ended + 1)
            else:
                running.add(next_xid)
                next_xid += 1
        below = tuple(sorted(xid for xid in running if xid < xmax))
        snapshots.append(Snapshot(below[0] if below else xmax, xmax, below))
    return snapshots


@pytest.mark.parametrize("text", ["3:3:", "10:20:10,14,15", "10:20:10", "4294967296:4294967300:4294967296"])
def test_a_snapshot_reads_back_as_postgres_printed_it(text):
    assert str(parse_snapshot(text)) == text


def test_a_snapshot_is_its_bounds_and_what_runs():
    assert parse_snapshot("10:20:10,14") == Snapshot(10, 20, (10, 14))
    assert parse_snapshot("7:7:") == Snapshot(7, 7, ())


@pytest.mark.parametrize(
    ("earlier", "later", "ranges"),
    [
        ("10:10:", "10:10:", []),
        ("10:10:", "13:13:", [(10, 12)]),
        ("10:20:10,15", "10:20:10,15", []),
        ("10:20:10,15", "15:20:15", [(10, 10)]),
        ("10:20:10,15", "20:20:", [(10, 10), (15, 15)]),
        ("10:20:10", "10:25:10,22", [(20, 21), (23, 24)]),
        ("10:20:10", "10:25:10,20,24", [(21, 23)]),
        ("10:20:10", "10:22:10,20,21", []),
        ("10:20:10,11", "20:25:20", [(10, 10), (11, 11), (21, 24)]),
    ],
)
def test_a_batch_is_what_ended_between_two_snapshots(earlier, later, ranges):
    assert seen_since(parse_snapshot(earlier), parse_snapshot(later)) == ranges


@pytest.mark.parametrize("seed", range(20))
def test_a_batch_holds_exactly_what_the_later_snapshot_sees_and_the_earlier_did_not(seed):
    snapshots = consecutive_snapshots(random.Random(seed), 40)
    for earlier, later in combinations(snapshots, 2):
        expected = [
            xid for xid in range(later.xmax + 3) if is_visible(xid, later) and not is_visible(xid, earlier)
        ]
        assert expand(seen_since(earlier, later)) == expected


@pytest.mark.parametrize("seed", range(20))
def test_consecutive_batches_take_each_transaction_once_and_leave_none(seed):
    snapshots = consecutive_snapshots(random.Random(seed), 60)
    taken = [xid for pair in pairwise(snapshots) for xid in expand(seen_since(*pair))]
    assert len(taken) == len(set(taken))
    assert sorted(taken + expand(seen_since(NOTHING, snapshots[0]))) == expand(
        seen_since(NOTHING, snapshots[-1])
    )


@pytest.mark.parametrize("seed", range(10))
def test_after_nothing_a_snapshot_sees_all_that_ended_before_it(seed):
    for snapshot in consecutive_snapshots(random.Random(seed), 40):
        expected = [xid for xid in range(1, snapshot.xmax + 3) if is_visible(xid, snapshot)]
        assert expand(seen_since(NOTHING, snapshot)) == expected


@pytest.mark.parametrize("seed", range(10))
def test_ranges_ascend_without_touching_what_still_runs(seed):
    snapshots = consecutive_snapshots(random.Random(seed), 40)
    for earlier, later in pairwise(snapshots):
        bounds = [bound for pair in seen_since(earlier, later) for bound in pair]
        assert bounds == sorted(bounds)
        assert not set(later.running) & set(expand(seen_since(earlier, later)))


def test_nothing_is_new_to_an_older_snapshot():
    snapshots = consecutive_snapshots(random.Random(7), 60)
    for earlier, later in pairwise(snapshots):
        assert seen_since(later, earlier) == []


def test_bounds_are_the_two_ends_of_each_range_as_text():
    assert bounds([(1, 3), (7, 7), (2**63, 2**64 - 1)]) == (
        ["1", "7", "9223372036854775808"],
        ["3", "7", "18446744073709551615"],
    )
    assert bounds([]) == ([], [])

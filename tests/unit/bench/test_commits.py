"""What pgbench's log says about rows: a writer's n-th line is the commit of its n-th row."""

from __future__ import annotations

from bench.commits import returned

LOG = """\
0 1 812 0 1795956000 000250
1 1 640 0 1795956000 000300 12
0 2 799 0 1795956001 999999
"""


def test_rows_have_the_times_at_which_their_commits_returned() -> None:
    assert returned(LOG.splitlines(), first=7_000_000_000) == {
        7_000_000_001: 1_795_956_000_000_250_000,
        7_001_000_001: 1_795_956_000_000_300_000,
        7_000_000_002: 1_795_956_001_999_999_000,
    }

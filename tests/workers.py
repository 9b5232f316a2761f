"""How tests are spread over the workers of pytest-xdist.

`make test` runs all workers at once, and after them, in one process, the tests that need the machine for
themselves. A worker has servers of its own, which its tests share. A file goes to one worker as a whole, for
its tests may share more than that; of the longest files each test goes to a worker that is free.
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

# Their clients keep all cores busy, or are closed as too slow where others do.
ALONE = frozenset(
    {
        "test_change_path",
        "test_crowd_of_a_killed_node",
        "test_floods",
        "test_frame_floods",
        "test_gateway_burst",
        "test_http_floods",
        "test_memory_of_crowds",
        "test_owed_bound",
        "test_recovery_storm",
    }
)

# Longer than a tenth of all, and made of tests that share nothing but the servers of their worker.
LONG = frozenset(
    {"test_chaos", "test_chaos_redis", "test_cli", "test_dev", "test_fuzzing", "test_javascript_real"}
)


class Spread(LoadScopeScheduling):
    """Hands out files, and tests of long files, in the order in which they were collected.

    Acceptance tests are first, and quick unit tests fill up what is left at the end.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file.rpartition("/")[2].removesuffix(".py") in LONG else file

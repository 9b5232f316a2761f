"""How much presence a project's clients have on this node."""

from __future__ import annotations

import pytest

from gateway.projects.presence_quota import ENTRY_BYTES, PresenceQuota
from realtime.errors import ClientError, Code

LIMIT = 3 * ENTRY_BYTES


class One:
    """A presence, as the quota sees it."""

    counted_bytes = 0


ANN, BOB, EVE = One(), One(), One()


@pytest.fixture
def quota() -> PresenceQuota:
    """With room for 100 bytes and nobody else."""
    quota = PresenceQuota()
    for one in (ANN, BOB, EVE):
        one.counted_bytes = 0
    for one in (ANN, BOB):
        assert quota.take(one, (ENTRY_BYTES - 100) // 2, LIMIT) == 0
    return quota


def is_full(quota: PresenceQuota, one: One, size: int, limit: int = LIMIT) -> bool:
    try:
        quota.take(one, size, limit)
    except ClientError as error:
        return error.code is Code.RATE_LIMITED
    return False


def test_one_too_many_is_refused_and_counts_nothing(quota):
    before = repr(quota)
    assert is_full(quota, EVE, 0)
    assert repr(quota) == before


def test_zero_is_no_limit_and_is_counted_all_the_same(quota):
    assert not is_full(quota, EVE, 10**9, limit=0)
    assert is_full(quota, One(), 0)
    quota.release(EVE)
    assert repr(quota) == f"<PresenceQuota 2 entries, {LIMIT - 100} bytes>"


def test_an_entry_takes_the_place_of_the_one_before(quota):
    assert not is_full(quota, ANN, (ENTRY_BYTES - 100) // 2 + 100)
    assert is_full(quota, BOB, ENTRY_BYTES)
    assert not is_full(quota, ANN, 0)
    assert not is_full(quota, BOB, (ENTRY_BYTES - 100) // 2 + 300)


def test_over_a_limit_that_was_lowered_an_entry_may_shrink_and_not_grow(quota):
    assert not is_full(quota, ANN, 10, limit=1)
    assert is_full(quota, ANN, 11, limit=1)


def test_who_goes_makes_room(quota):
    quota.release(ANN)
    quota.release(ANN)
    assert not is_full(quota, EVE, 0)


def test_what_redis_did_not_take_is_what_it_was_before(quota):
    before = quota.take(ANN, 7, LIMIT)
    quota.undo(ANN, 7, before)
    assert quota.take(EVE, 0, 0) == 0
    quota.undo(EVE, 0, 0)
    assert repr(quota) == f"<PresenceQuota 2 entries, {LIMIT - 100} bytes>"


def test_what_has_changed_since_is_not_undone(quota):
    before = quota.take(ANN, 7, LIMIT)
    quota.release(ANN)
    quota.undo(ANN, 7, before)
    assert quota.take(ANN, 5, LIMIT) == 0

"""How much history of broadcasts a project has by a node: what counts, until when, and who is refused."""

from __future__ import annotations

from contextlib import suppress

import pytest

from gateway.projects.history_quota import TOPIC_BYTES, HistoryLedger
from realtime.errors import ClientError, Code


@pytest.fixture
def ledger() -> HistoryLedger:
    return HistoryLedger()


def counted(*sizes: int) -> int:
    """What so many topics with these histories count."""
    return sum(sizes) + len(sizes) * TOPIC_BYTES


def is_refused(ledger: HistoryLedger, size: int, limit: int, now: float) -> bool:
    try:
        with ledger.room_for(size, limit, now):
            return False
    except ClientError:
        return True


def test_topics_count_until_their_time_is_up_in_whichever_order_they_came(ledger: HistoryLedger) -> None:
    ledger.note("room:long", 100, 300.0)
    ledger.note("room:short", 20, 10.0)
    assert ledger.total(9.9) == counted(100, 20)
    assert ledger.total(10.0) == counted(100)
    assert ledger.total(300.0) == 0
    assert repr(ledger) == "<HistoryLedger 0 topics, 0 bytes>"


def test_a_topic_that_is_counted_counts_its_new_size_alone(ledger: HistoryLedger) -> None:
    for size in (100, 250, 40):
        ledger.note("room:a", size, 300.0)
        assert ledger.total(0.0) == counted(size)


def test_a_topic_that_is_spoken_on_stays(ledger: HistoryLedger) -> None:
    ledger.note("room:a", 100, 10.0)
    ledger.note("room:a", 150, 20.0)
    assert ledger.total(15.0) == counted(150)
    assert ledger.total(20.0) == 0


def test_a_topic_that_was_gone_counts_again_as_a_new_one(ledger: HistoryLedger) -> None:
    ledger.note("room:a", 100, 10.0)
    assert ledger.total(10.0) == 0
    ledger.note("room:a", 30, 20.0)
    assert [ledger.total(19.0), ledger.total(20.0)] == [counted(30), 0]


def test_what_fits_exactly_is_taken_and_one_byte_more_is_refused(ledger: HistoryLedger) -> None:
    ledger.note("room:a", 100, 10.0)
    limit = counted(100) + 50
    assert [is_refused(ledger, size, limit, 0.0) for size in (50, 51)] == [False, True]
    assert not is_refused(ledger, limit, limit, 10.0), "its time is up"


def test_what_is_under_way_counts_until_it_has_come_or_failed(ledger: HistoryLedger) -> None:
    with suppress(KeyError), ledger.room_for(60, 100, 0.0):
        assert [is_refused(ledger, size, 100, 0.0) for size in (40, 41)] == [False, True]
        raise KeyError
    assert not is_refused(ledger, 100, 100, 0.0)


def test_a_refusal_changes_nothing(ledger: HistoryLedger) -> None:
    with pytest.raises(ClientError) as refused, ledger.room_for(101, 100, 0.0):
        pass
    assert refused.value.code is Code.RATE_LIMITED
    assert not is_refused(ledger, 100, 100, 0.0)


def test_without_a_limit_nobody_is_refused(ledger: HistoryLedger) -> None:
    ledger.note("room:a", 10**12, 10.0)
    assert not is_refused(ledger, 10**12, 0, 0.0)


def test_it_remembers_no_more_than_the_topics_that_count(ledger: HistoryLedger) -> None:
    for second in range(1_000):
        ledger.note("room:busy", 1, second + 10.0)
        ledger.note(f"room:{second}", 1, second + 10.0)
        ledger.total(float(second))
    assert repr(ledger).startswith("<HistoryLedger 11 topics")
    assert len(ledger._next) == 11

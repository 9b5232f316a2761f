"""A cause is logged once, however often something is tried, and never without a bound."""

from __future__ import annotations

from realtime.waiting.outage import MOST_CAUSES, QUIET_SECONDS, Outage


def test_a_cause_is_news_once_while_it_goes_on() -> None:
    outage = Outage()
    assert [outage.is_news("refused", now) for now in range(0, 600, 5)].count(True) == 1


def test_another_cause_is_news_and_the_first_is_not_when_it_comes_back() -> None:
    outage = Outage()
    told = [outage.is_news(cause, now) for now, cause in enumerate(["refused", "no answer"] * 10)]
    assert told == [True, True] + [False] * 18


def test_a_cause_that_was_not_seen_for_a_while_is_news_again() -> None:
    outage = Outage()
    assert outage.is_news("refused", 0)
    assert not outage.is_news("refused", QUIET_SECONDS - 1)
    assert not outage.is_news("refused", 2 * QUIET_SECONDS - 2)
    assert outage.is_news("refused", 3 * QUIET_SECONDS)


def test_what_is_over_is_news_when_it_begins_again() -> None:
    outage = Outage()
    assert outage.is_news("refused", 0)
    outage.end()
    assert outage.is_news("refused", 1)


def test_causes_that_differ_each_time_are_told_so_often_and_no_more() -> None:
    outage = Outage()
    told = [outage.is_news(f"process {number} failed", number / 100) for number in range(1_000)]
    assert told.count(True) == MOST_CAUSES
    assert repr(outage) == f"<Outage {MOST_CAUSES} causes>"

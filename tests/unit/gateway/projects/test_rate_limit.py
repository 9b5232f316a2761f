"""How often an address and a token may ask, by a clock of the test's own; and what that takes."""

from __future__ import annotations

import pytest

from gateway.projects.rate_limit import Buckets, Rates, address_key
from realtime.errors import Code, RateLimited
from realtime.settings.config import Limits

NOW = 1_000.0


def refused(times: int, ask, *about) -> int:
    """How many of so many are refused."""
    errors = []
    for _ in range(times):
        try:
            ask(*about)
        except RateLimited as error:
            errors.append(error)
    assert {error.code for error in errors} <= {Code.RATE_LIMITED}
    assert all(error.retry_seconds > 0 for error in errors)
    return len(errors)


RATES = {
    "request": "requests_per_second_per_ip",
    "upgrade": "upgrades_per_second_per_ip",
    "refused": "refused_upgrades_per_second_per_ip",
    "token": "requests_per_second_per_token",
}


@pytest.mark.parametrize("name", RATES)
def test_a_rate_lets_two_seconds_worth_through_at_once_and_then_as_many_as_it_says(name):
    rates = Rates(Limits(**{RATES[name]: 10}))
    ask = getattr(rates, name)
    assert refused(50, ask, "192.0.2.1", NOW) == 30
    assert refused(50, ask, "192.0.2.1", NOW + 1) == 40
    assert refused(10, ask, "192.0.2.2", NOW + 1) == 0


@pytest.mark.parametrize("name", RATES)
def test_0_is_no_limit(name):
    assert refused(10_000, getattr(Rates(Limits(**{RATES[name]: 0})), name), "192.0.2.1", NOW) == 0


def test_the_rates_do_not_count_for_each_other():
    rates = Rates(Limits(**dict.fromkeys(RATES.values(), 1)))
    for name in RATES:
        assert refused(3, getattr(rates, name), "192.0.2.1", NOW) == 1


def test_by_default_thousands_of_clients_of_one_address_come_at_once():
    rates = Rates(Limits())
    assert refused(5_000, rates.upgrade, "192.0.2.1", NOW) == 0
    assert refused(400, rates.request, "192.0.2.1", NOW) == 0
    assert refused(200, rates.token, "a token", NOW) == 0


def test_a_refusal_says_when_the_next_one_is_let_through():
    rates = Rates(Limits(requests_per_second_per_ip=0.1))
    rates.request("192.0.2.1", NOW)
    with pytest.raises(RateLimited) as caught:
        rates.request("192.0.2.1", NOW + 4)
    assert caught.value.retry_seconds == pytest.approx(6)
    assert refused(1, rates.request, "192.0.2.1", NOW + 4 + caught.value.retry_seconds - 0.01) == 1
    assert refused(1, rates.request, "192.0.2.1", NOW + 4 + caught.value.retry_seconds + 0.01) == 0


def test_who_goes_on_asking_is_let_through_at_the_rate_all_the_same():
    rates = Rates(Limits(requests_per_second_per_ip=10))
    asked = [refused(1, rates.request, "192.0.2.1", NOW + number / 100) for number in range(1_000)]
    assert asked.count(0) == pytest.approx(20 + 100, abs=2)


def test_other_limits_are_in_force_at_once():
    rates = Rates(Limits(requests_per_second_per_ip=1))
    assert refused(10, rates.request, "192.0.2.1", NOW) == 8
    rates.limits = Limits(requests_per_second_per_ip=5)
    assert refused(20, rates.request, "192.0.2.1", NOW) == 10
    rates.limits = Limits(requests_per_second_per_ip=0)
    assert refused(20, rates.request, "192.0.2.1", NOW) == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("2001:DB8::1", "2001:db8::2", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "192.0.2.1", False),
        ("", "nonsense", True),
    ],
)
def test_one_customer_is_one_address(one, other, same):
    assert (address_key(one) == address_key(other)) is same


def test_a_hundred_thousand_addresses_leave_no_more_than_a_moment_brings():
    buckets = Buckets()
    for number in range(100_000):
        buckets.wait(f"address {number}", 10, NOW + number / 1_000)
    assert len(buckets) <= 1_000 * 2 + 2  # a bucket of this rate is full after 0.1 s, and at most 2 s old


def test_a_million_addresses_in_a_moment_have_a_bound():
    buckets = Buckets(most=100)
    for number in range(10_000):
        buckets.wait(f"address {number}", 10, NOW)
    assert len(buckets) == 100


def test_an_address_that_asks_all_the_time_is_not_forgotten_for_those_that_do_not():
    buckets, waits = Buckets(most=100), 0
    for number in range(10_000):
        buckets.wait(f"address {number}", 10, NOW)
        waits += buckets.wait("the flooder", 10, NOW) > 0
    assert waits == 10_000 - 20


def test_no_token_is_remembered():
    rates = Rates(Limits())
    rates.token("eyJhbGciOi", NOW)
    assert "eyJ" not in repr(vars(rates)) + repr(list(rates._tokens._buckets))

"""How often an address, or a token, may ask: the rates of a project on one node, as rules.

Handlers ask before they do anything; time comes in as an argument. Buckets are kept for a moment only, since
one that was left alone is full again: so a million addresses need no more room than those of that moment.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv6Address, ip_address

from gateway.projects.token_bucket import BURST_SECONDS, Bucket
from realtime.errors import RateLimited
from realtime.settings.config import Limits

MAX_BUCKETS = 20_000  # of a kind; then the one that was left alone for longest is forgotten
PRUNED_AT_ONCE = 2  # for each that may be new

IPV6_NETWORK_BYTES = 8  # a /64, of which one customer has all addresses


class Buckets:
    """A bucket for each key that came lately."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}  # the one that was asked last comes last

    def __repr__(self) -> str:
        return f"<Buckets {len(self._buckets)}>"

    def __len__(self) -> int:
        return len(self._buckets)

    def wait(self, key: str, rate: float, now: float) -> float:
        """Take one at this rate a second; return for how long to wait instead, 0 if it was there."""
        if not rate:
            return 0.0
        burst = max(1.0, BURST_SECONDS * rate)
        bucket = self._buckets.pop(key, None)
        if bucket is None or not bucket.is_for(rate, burst):
            bucket = Bucket(rate, burst, now)
        self._buckets[key] = bucket
        seconds = 0.0 if bucket.take(now) else bucket.seconds_to_next()
        self._prune(now)
        return seconds

    def _prune(self, now: float) -> None:
        """Forget of the oldest what is full; the newest never is, since something was just taken from it."""
        for _ in range(PRUNED_AT_ONCE):
            key, bucket = next(iter(self._buckets.items()))
            if len(self._buckets) <= MAX_BUCKETS and not bucket.is_full(now):
                return
            del self._buckets[key]


class Rates:
    """The rates of a project, or of requests that name none; `limits` changes with a reload."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._requests = Buckets()  # by address
        self._tokens = Buckets()  # by a digest of the token
        self._upgrades = Buckets()  # by address
        self._refused = Buckets()  # by address

    def request(self, address: str, now: float) -> None:
        """Count a request of an address before anything is known of it; raises RateLimited."""
        rate = self.limits.requests_per_second_per_ip
        _check(self._requests.wait(address_key(address), rate, now), rate, "requests", "this address")

    def token(self, token: str, now: float) -> None:
        """Count a request by a token that is valid; raises RateLimited."""
        rate = self.limits.requests_per_second_per_token
        digest = hashlib.blake2b(token.encode(), digest_size=16).hexdigest()
        _check(self._tokens.wait(digest, rate, now), rate, "requests", "this token")

    def upgrade(self, address: str, now: float) -> None:
        """Count somebody who wants a WebSocket; raises RateLimited."""
        rate = self.limits.upgrades_per_second_per_ip
        _check(self._upgrades.wait(address_key(address), rate, now), rate, "connections", "this address")

    def refused(self, address: str, now: float) -> None:
        """Count somebody who was turned away for what it sent; raises RateLimited."""
        rate = self.limits.refused_upgrades_per_second_per_ip
        _check(self._refused.wait(address_key(address), rate, now), rate, "refusals", "this address")


def _check(seconds: float, rate: float, what: str, whose: str) -> None:
    if seconds:
        raise RateLimited(f"more than {rate:g} {what} a second by {whose}", seconds)


def address_key(address: str) -> str:
    """Return what is counted as one address: an IPv4 address, or a /64 of IPv6."""
    try:
        parsed = ip_address(address)
    except ValueError:  # of a socket that has none
        return ""
    if isinstance(parsed, IPv6Address):
        return parsed.packed[:IPV6_NETWORK_BYTES].hex()
    return address

"""The rates of a project on one node: how often an address or a token may send requests.

The gate asks before a handler runs; time comes in as an argument. A bucket is kept for a moment only, since
an unused bucket is soon full again: so a million addresses need no more room than those of that moment.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv6Address, ip_address

from gateway.projects.token_bucket import BURST_SECONDS, Bucket
from realtime.errors import RateLimited
from realtime.settings.config import Limits

MAX_BUCKETS = 20_000  # of a kind; beyond it the bucket that was unused for longest is evicted
PRUNED_AT_ONCE = 2  # old buckets that may be evicted for each bucket that may be new

IPV6_NETWORK_BYTES = 8  # a /64, of which one customer has all addresses


class Buckets:
    """A bucket for each key that was used lately."""

    def __init__(self, most: int = MAX_BUCKETS) -> None:
        self._most = most
        self._buckets: dict[str, Bucket] = {}  # the bucket that was used last comes last

    def __repr__(self) -> str:
        return f"<Buckets {len(self._buckets)}>"

    def __len__(self) -> int:
        return len(self._buckets)

    def wait(self, key: str, rate: float, now: float) -> float:
        """Take one token at this rate a second; return 0, or the seconds to wait if no token is there."""
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
        """Evict oldest buckets that are full or too many; the newest is not full, since it was just used."""
        for _ in range(PRUNED_AT_ONCE):
            key, bucket = next(iter(self._buckets.items()))
            if len(self._buckets) <= self._most and not bucket.is_full(now):
                return
            del self._buckets[key]


class Rates:
    """The rates of a project, or of requests that name no project; `limits` changes with a reload."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._requests = Buckets()  # by address
        self._tokens = Buckets()  # by a digest of the token
        self._upgrades = Buckets()  # by address
        self._refused = Buckets()  # by address

    def request(self, address: str, now: float) -> None:
        """Count a request of an address before anything else is checked; raises RateLimited."""
        rate = self.limits.requests_per_second_per_ip
        _check(self._requests.wait(address_key(address), rate, now), rate, "requests", "this address")

    def token(self, token: str, now: float) -> None:
        """Count a request with a valid token; raises RateLimited."""
        rate = self.limits.requests_per_second_per_token
        digest = hashlib.blake2b(token.encode(), digest_size=16).hexdigest()
        _check(self._tokens.wait(digest, rate, now), rate, "requests", "this token")

    def upgrade(self, address: str, now: float) -> None:
        """Count a WebSocket request of an address; raises RateLimited."""
        rate = self.limits.upgrades_per_second_per_ip
        _check(self._upgrades.wait(address_key(address), rate, now), rate, "connections", "this address")

    def refused(self, address: str, now: float) -> None:
        """Count a refusal of what an address sent; raises RateLimited."""
        rate = self.limits.refused_upgrades_per_second_per_ip
        _check(self._refused.wait(address_key(address), rate, now), rate, "refusals", "this address")


def _check(seconds: float, rate: float, what: str, whose: str) -> None:
    if seconds:
        raise RateLimited(f"more than {rate:g} {what} a second by {whose}", seconds)


def address_key(address: str) -> str:
    """Return what is counted as one address: an IPv4 address, or a /64 of IPv6."""
    try:
        parsed = ip_address(address)
    except ValueError:  # the socket has no address
        return ""
    if isinstance(parsed, IPv6Address):
        return parsed.packed[:IPV6_NETWORK_BYTES].hex()
    return address

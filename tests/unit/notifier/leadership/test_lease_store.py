"""Who holds which lease, and who is of the fleet, in Redis."""

from __future__ import annotations

import asyncio

from notifier.leadership.lease_store import Claim, LeaseStore, Wish
from realtime import names
from realtime.errors import Unavailable
from realtime.redis.client import Store

PROJECT = "demo"


async def holders(store: Store, *wishes: tuple[str, Wish]) -> list[str | Unavailable | None]:
    """Carry out wishes of notifiers for one lease; return who held it after each."""
    found = []
    for name, wish in wishes:
        found += await LeaseStore(store, name, 60).leases([Claim(PROJECT, wish, "live")])
    return found


async def test_a_lease_is_given_up_or_renewed_only_by_its_holder_and_taken_by_a_new_leader(
    store: Store,
) -> None:
    assert await holders(
        store,
        ("a", Wish.LEAVE),
        ("a", Wish.RENEW),
        ("b", Wish.LEAVE),
        ("b", Wish.RENEW),
        ("b", Wish.TAKE),
        ("a", Wish.RENEW),
        ("a", Wish.LEAVE),
        ("b", Wish.LEAVE),
    ) == [None, "a", "a", "a", "b", "b", "b", None]


async def test_a_lease_that_tells_no_name_is_nobodys_to_renew(store: Store) -> None:
    """As a notifier of an earlier version leaves it."""
    await store.call("SET", names.notifier(PROJECT), b'{"state":"live"}', "EX", 60)
    assert await holders(store, ("a", Wish.LEAVE), ("a", Wish.RENEW)) == ["", ""]


async def test_a_lease_that_somebody_has_overwritten_keeps_no_other_from_being_had(store: Store) -> None:
    await store.call("HSET", names.notifier(PROJECT), "a", "b")
    claims = [Claim(PROJECT, Wish.RENEW), Claim("other", Wish.RENEW)]
    refused, holder = await LeaseStore(store, "a", 60).leases(claims)
    assert (type(refused), holder) == (Unavailable, "a")


async def test_who_does_not_sign_in_again_is_no_longer_of_the_fleet(store: Store) -> None:
    stays, goes, dies = (LeaseStore(store, "a", 60), LeaseStore(store, "b", 60), LeaseStore(store, "c", 0.1))
    await goes.sign_in(b"{}")
    assert await dies.sign_in(b'{"c":1}') == {"b": b"{}", "c": b'{"c":1}'}
    await goes.sign_out()
    async with asyncio.timeout(10):
        while await stays.sign_in(b"{}") != {"a": b"{}"}:
            await asyncio.sleep(0.01)

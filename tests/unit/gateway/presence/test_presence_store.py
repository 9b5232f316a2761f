"""Who is present as Redis has it: entries by topic, and the notes that lead other nodes to them."""

from __future__ import annotations

from gateway.presence.change import Change
from gateway.presence.presence_store import PresenceStore
from realtime.redis.client import Store

LOBBY, CLUB = ("demo", "presence:room:lobby"), ("demo", "presence")


async def test_members_are_who_was_set_and_not_removed(store: Store) -> None:
    presence = PresenceStore(store)
    await presence.change({LOBBY: [Change("n-0/a", b'{"n":1}'), Change("n-0/b", b"{}")]})
    before, members = await presence.members(*LOBBY)
    assert members == {b"n-0/a": b'{"n":1}', b"n-0/b": b"{}"}
    await presence.change({LOBBY: [Change("n-0/a", None)]})
    after, members = await presence.members(*LOBBY)
    assert members == {b"n-0/b": b"{}"}
    assert (after.epoch, after.offset > before.offset) == (before.epoch, True)


async def test_a_topic_knows_nothing_of_the_members_of_another(store: Store) -> None:
    presence = PresenceStore(store)
    await presence.change({LOBBY: [Change("n-0/a", b"{}")], CLUB: [Change("n-0/b", b"{}")]})
    assert list((await presence.members(*LOBBY))[1]) == [b"n-0/a"]
    assert list((await presence.members(*CLUB))[1]) == [b"n-0/b"]


async def test_the_fields_of_an_incarnation_are_its_own_alone(store: Store) -> None:
    presence = PresenceStore(store)
    await presence.change({LOBBY: [Change(f"{one}/a", b"{}") for one in ("n-1", "n-10", "m-1")]})
    assert await presence.fields_of(*LOBBY, "n-1") == ["n-1/a"]


async def test_a_noted_topic_is_found_until_it_is_forgotten(store: Store) -> None:
    presence = PresenceStore(store)
    await presence.note_topics("n-0", [LOBBY, CLUB])
    assert sorted(await presence.topics_of("n-0")) == sorted([LOBBY, CLUB])
    await presence.forget_topics("n-0", [LOBBY])
    assert await presence.topics_of("n-0") == [CLUB]
    assert await presence.topics_of("n-1") == []

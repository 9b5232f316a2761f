"""What the scripts that append leave in Redis: the same as the scripts of the version before, in any turn.

A clock that stands still makes the ids of entries comparable.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from realtime.redis.client import Command, Store
from realtime.redis.scripts import Script
from tests.former_scripts import call_former
from tests.redis_in_memory import store_in_memory

META, HISTORY, CHANNEL, EPOCH = "{t}:meta", "{t}:history", "{t}", "0123456789ab"
SECOND, HOUR, MANY = 1_000, 3_600_000, 1_000_000


class Clock:
    """The time that Redis in memory has, in milliseconds."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def time(self) -> float:
        return self.ms / 1_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in ("fakeredis._helpers", "fakeredis._socket._base", "fakeredis.commands_mixins.server_mixin"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(time=clock.time))
    return clock


@dataclass(frozen=True)
class Kept:
    """How much of history is kept: entries, milliseconds, bytes."""

    entries: int = MANY
    ms: int = HOUR
    size: int = MANY


class Topic:
    """A topic in a Redis of its own, to which both versions of the scripts publish."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._changes = Script(store, "append_v2", "changes_v2")
        self._broadcast = Script(store, "reign_v1", "append_v2", "broadcast_v2")
        self._batch = 0

    async def change(self, lines: Sequence[str], kept: Kept, *, by_former: bool = False) -> None:
        last = await self.store.call("HGET", META, "mark") or b""
        self._batch += 1
        ids = range(1, len(lines) + 1)
        arguments = (
            *(CHANNEL, last, f"b{self._batch}", ",".join(map(str, ids)), ids[-1], len(ids)),
            *("\n".join(lines), EPOCH, kept.entries, kept.ms, kept.size),
        )
        if by_former:
            answer = await call_former(self.store, ["append_v1", "changes_v1"], [META, HISTORY], *arguments)
            assert answer == [len(lines), b""]
        else:
            assert await self._changes.call([META, HISTORY], arguments) == len(lines)

    async def say(self, lines: Sequence[str], kept: Kept, *, by_former: bool = False) -> list[int]:
        arguments = (
            *(CHANNEL, len(lines), "\n".join(lines), EPOCH),
            *(kept.entries, kept.ms, kept.size, 2 * kept.ms),
        )
        if by_former:
            files = ["reign_v1", "append_v1", "broadcast_v1"]
            return list(await call_former(self.store, files, [META, HISTORY], *arguments))
        return list(await self._broadcast.call([META, HISTORY], arguments))

    async def stored(self) -> dict[str, Any]:
        """The fields, the entries with their ids, and how long both stay."""
        commands = [(META, "HGETALL"), (META, "PTTL"), (HISTORY, "XRANGE", "-", "+"), (HISTORY, "PTTL")]
        answers = await self.store.call_many(
            [Command(key, (word, key, *more)) for key, word, *more in commands]
        )
        return dict(zip(("meta", "meta ttl", "history", "history ttl"), answers, strict=True))

    async def counts(self) -> int:
        """How many bytes of history the topic has, which it has counted rightly."""
        found = await self.stored()
        size = sum(len(fields[b"p"]) for _, fields in found["history"])
        assert int(found["meta"][b"bytes"]) == size
        assert found["meta"][b"oldest"] == found["history"][0][0]
        return size

    async def offsets(self) -> list[int]:
        """The last offset of each entry of history."""
        return [int(entry.partition(b"-")[0]) for entry, _ in (await self.stored())["history"]]


@pytest.fixture
def topic(store: Store, clock: Clock) -> Topic:
    return Topic(store)


@pytest_asyncio.fixture
async def topics(clock: Clock) -> AsyncIterator[Callable[[], Any]]:
    """Make topics, each in a Redis of its own."""
    async with AsyncExitStack() as stack:

        async def make() -> Topic:
            return Topic(await stack.enter_async_context(store_in_memory()))

        yield make


def story(seed: int) -> Iterator[tuple[str, Any]]:
    """Publications of any size at any pace, under bounds that change; history that is gone."""
    random_source = random.Random(seed)
    kept = Kept(5, 10 * SECOND, 400)
    for _ in range(60):
        match random_source.randrange(12):
            case 0:
                choose = random_source.choice
                kept = Kept(choose([1, 3, 8]), choose([SECOND, 10 * SECOND]), choose([1, 150, 400, MANY]))
            case 1:
                yield "lose", None
            case 2 | 3:
                yield "wait", random_source.choice([1, 999, 1_000, 1_001, 9_000, 25_000])
            case _:
                sizes = [random_source.randrange(120) for _ in range(random_source.choice([1, 1, 1, 2, 7]))]
                yield "publish", (["x" * size for size in sizes], kept)


@pytest.mark.parametrize("kind", [Topic.change, Topic.say])
@pytest.mark.parametrize("seed", range(12))
async def test_both_versions_of_a_script_leave_the_same_in_any_turn(
    seed: int, kind: Callable[..., Any], clock: Clock, topics: Callable[[], Any]
) -> None:
    former, present, mixed = [await topics() for _ in range(3)]
    turns = random.Random(seed + 1_000)
    for what, how in story(seed):
        if what == "wait":
            clock.ms += how
        elif what == "lose":
            for topic in (former, present, mixed):
                await topic.store.call("DEL", HISTORY)
        else:
            lines, kept = how
            answers = [
                await kind(topic, lines, kept, by_former=by_former)
                for topic, by_former in ((former, True), (present, False), (mixed, turns.random() < 0.5))
            ]
            assert answers[1:] == answers[:1] * 2
        expected = await former.stored()
        assert await present.stored() == expected
        assert await mixed.stored() == expected


async def test_an_entry_goes_when_it_is_older_than_history_keeps_and_not_before(
    topic: Topic, clock: Clock
) -> None:
    await topic.change(["a"], Kept(ms=SECOND))
    await topic.store.call("PERSIST", HISTORY)
    clock.ms += SECOND
    await topic.change(["b"], Kept(ms=SECOND))
    assert await topic.offsets() == [1, 2]
    clock.ms += 1
    await topic.change(["c"], Kept(ms=SECOND))
    assert await topic.offsets() == [2, 3]
    await topic.counts()


async def test_an_entry_goes_when_history_has_more_bytes_than_it_keeps_and_not_before(topic: Topic) -> None:
    await topic.change(["a"], Kept())
    size = await topic.counts()
    await topic.change(["b"], Kept(size=2 * size))
    assert await topic.offsets() == [1, 2]
    await topic.change(["c"], Kept(size=3 * size - 1))
    assert await topic.offsets() == [2, 3]
    assert await topic.counts() == 2 * size


async def test_an_entry_goes_when_history_has_more_messages_than_it_keeps_and_not_before(
    topic: Topic,
) -> None:
    for line in "abc":
        await topic.change([line], Kept(entries=3))
    assert await topic.offsets() == [1, 2, 3]
    await topic.change(["d"], Kept(entries=3))
    assert await topic.offsets() == [2, 3, 4]
    await topic.change(["e", "f"], Kept(entries=3))
    assert await topic.offsets() == [4, 6]
    await topic.counts()


async def test_a_publication_that_pushes_all_others_out_stays(topic: Topic) -> None:
    for line in "abc":
        await topic.change([line], Kept())
    await topic.change(["x" * 100], Kept(size=50))
    assert await topic.offsets() == [4]
    await topic.counts()


@pytest.mark.parametrize("kept", [Kept(), Kept(entries=1)], ids=["nothing to trim", "something to trim"])
async def test_history_that_is_gone_begins_again_with_right_sums(topic: Topic, kept: Kept) -> None:
    await topic.change(["a"], Kept())
    await topic.change(["b"], Kept())
    await topic.store.call("DEL", HISTORY)
    await topic.change(["c"], kept)
    assert await topic.offsets() == [3]
    await topic.counts()


async def test_history_lasts_for_its_time_after_each_publication(topic: Topic, clock: Clock) -> None:
    for _ in range(3):
        await topic.change(["a"], Kept(ms=SECOND))
        assert (await topic.stored())["history ttl"] == SECOND
        clock.ms += 900
    clock.ms += 200
    assert (await topic.stored())["history"] == []


async def test_a_topic_whose_epoch_is_gone_begins_a_new_one_without_the_old_history(topic: Topic) -> None:
    for line in "abc":
        await topic.change([line], Kept())
    await topic.store.call("DEL", META)
    await topic.change(["d"], Kept())
    assert await topic.offsets() == [1]
    await topic.counts()


async def test_only_a_topic_without_a_publication_expires(topic: Topic) -> None:
    await topic.store.call("HSET", META, "epoch", EPOCH)
    await topic.store.call("PEXPIRE", META, SECOND)
    await topic.change(["a"], Kept())
    assert (await topic.stored())["meta ttl"] == -1


async def test_a_channel_outlives_its_history(topic: Topic, clock: Clock) -> None:
    for _ in range(2):
        await topic.say(["a"], Kept(ms=SECOND))
        found = await topic.stored()
        assert (found["meta ttl"], found["history ttl"]) == (2 * SECOND, SECOND)
        clock.ms += 900

"""Each script answers on a server as it does in memory, where unit tests run it, and leaves the same keys."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

from realtime.redis.client import Store
from realtime.redis.scripts import Script
from tests.redis_in_memory import store_in_memory

# Their keys have one hash tag, so that a cluster, too, has all of them on one server.
META, HISTORY, MEMBERS, CHANNEL = "{t}meta", "{t}history", "{t}members", "{t}channel"
CONNECTIONS = "{t}open", "{t}counts", "{t}connections", "{t}of-here", "{t}of-there"
IDS, FACTS, LEASE = "{t}ids", "{t}facts", "{t}lease"
KEPT = 2, 60_000, 1_000  # of history: entries, milliseconds, bytes

# Of a topic: an id with a time in it, and how many bytes there are, with the reign in each epoch.
OF_A_SERVER = {b"oldest", b"bytes"}

# The files of a script, its keys, and its arguments.
Call = tuple[Sequence[str], Sequence[str], Sequence[Any]]


def changes(after: str, token: str, *ids: int, more: str = "") -> Call:
    lines = "\n".join(f"change {one}{more}" for one in ids)
    arguments = CHANNEL, after, token, ",".join(map(str, ids)), ids[-1], len(ids), lines, "first-epoch", *KEPT
    return ["append_v2", "changes_v2"], [META, HISTORY], arguments


def page(first: int, last: int, full: int = 1_000) -> Call:
    return ["page_v1"], [HISTORY], [first, last, full]


def position(key: str, source: str) -> Call:
    return ["reign_v1", "position_v2"], [key, f"{key}-history"], ["0123456789ab", 60_000, source]


def broadcast(*lines: str) -> Call:
    arguments = CHANNEL, len(lines), "\n".join(lines), "0123456789ab", *KEPT, 60_000
    return ["reign_v1", "append_v2", "broadcast_v2"], ["{t}said", "{t}said-history"], arguments


def presence(*changes: str) -> Call:
    return (
        ["reign_v1", "presence_v2"],
        [MEMBERS, "{t}where"],
        [CHANNEL, "0123456789ab", 60_000, 60_000, *changes],
    )


def members() -> Call:
    return ["reign_v1", "members_v2"], [MEMBERS, "{t}where"], ["ba9876543210"]


def connect(name: str, user: str = "bob", mode: str = "ask", *before: str) -> Call:
    facts = f'{{"user":"{user}"}}', user, "127.0.0.1"
    return ["connect_v2"], CONNECTIONS, [name, *facts, 3, 2, 5, "came", 10, 60_000, mode, 60_000, *before]


def disconnect(name: str, user: str = "bob") -> Call:
    return ["disconnect_v2"], CONNECTIONS[:4], [user, "127.0.0.1", "went", 10, 60_000, name]


def lease(who: str, wish: str) -> Call:
    return ["lease_v1"], [LEASE], [who, wish, f'{{"holder":"{who}"}}', 60_000]


def sign(who: str, facts: str) -> Call:
    return ["fleet_v1"], [IDS, FACTS], [who, facts, 60_000]


STORY: list[Call] = [
    position(META, "feed"),
    changes("", "b1", 3, 5, 8),
    changes("", "b1", 3, 5, 8),
    changes("b1:5", "b1", 5, 8, 9),
    changes("b0:1", "b2", 1),
    changes("b1:9", "b2", 4, 6),
    position(META, "feed"),
    page(1, 9),
    page(5, 6),
    page(5, 6, full=1),
    changes("b2:6", "b2", 7, more="x" * 990),
    page(5, 7),
    (["reset_v1"], [META, HISTORY], [CHANNEL, "b9:9", "b3:1", "second-epoch"]),
    (["reset_v1"], [META, HISTORY], [CHANNEL, "b2:7", "b3:1", "second-epoch"]),
    position(META, "feed"),
    page(1, 9),
    position("{t}empty", "reign"),
    (["forget_empty_v1"], ["{t}empty"], []),
    (["forget_empty_v1"], [META], []),
    broadcast("one"),
    broadcast("two", "three"),
    broadcast("four"),
    position("{t}said", "reign"),
    presence("set", "here/a", "{}", "set", "here/b", "{}"),
    presence("set", "here/a", '{"n":1}', "remove", "here/c", ""),
    presence(),
    members(),
    presence("remove", "here/a", "", "remove", "here/b", ""),
    members(),
    connect("here/1"),
    connect("here/1"),
    connect("here/2"),
    connect("here/3"),
    connect("here/4", ""),
    connect("here/5", "eve"),
    connect("here/6", "eve", "in"),
    connect("here/7", "bob", "in", "here/1"),
    disconnect("here/7"),
    disconnect("here/7"),
    disconnect("here/2"),
    disconnect("here/4", ""),
    disconnect("here/6", "eve"),
    lease("a", "leave"),
    lease("a", "renew"),
    lease("b", "renew"),
    lease("b", "take"),
    lease("a", "leave"),
    lease("b", "leave"),
    sign("a", "{}"),
    sign("b", '{"n":1}'),
    sign("a", ""),
]


async def outcomes(store: Store) -> list[Any]:
    """What each call answers, and what each key has in the end; without the reign, which is a server's."""
    answers = [await answer_to(store, *call) for call in STORY]
    keys = sorted({key for _, keys, _ in STORY for key in keys})
    left = [await stored(store, key) for key in keys]
    reign = await reign_of(store)
    return [without(reign, one) for one in (*answers, *zip(keys, left, strict=True))]


async def answer_to(store: Store, files: Sequence[str], keys: Sequence[str], arguments: Sequence[Any]) -> Any:
    answer = await Script(store, *files, writes="members_v2" not in files).call(keys, arguments)
    return answer[:1] if "broadcast_v2" in files else answer  # the rest is bytes of history


async def stored(store: Store, key: str) -> Any:
    """The value of a key; of a stream, whose ids are times, the values alone."""
    kind = await store.call("TYPE", key)
    lasts = await store.call("PTTL", key) > 0
    match kind:
        case b"hash":
            found = await store.call("HGETALL", key)
            return lasts, {field: value for field, value in found.items() if field not in OF_A_SERVER}
        case b"stream":
            return lasts, [values for _, values in await store.call("XRANGE", key, "-", "+")]
        case b"zset":
            return lasts, await store.call("ZRANGE", key, 0, -1)
        case _:
            return lasts, kind, await store.call("GET", key)


async def reign_of(store: Store) -> bytes:
    """With what the server has its epochs end."""
    epoch, _ = await answer_to(store, *position("{t}anywhere", "reign"))
    return bytes(epoch[12:])


def without(reign: bytes, answer: Any) -> Any:
    match answer:
        case bytes():
            return answer.replace(reign, b"") if reign else answer
        case list() | tuple():
            return [without(reign, one) for one in answer]
        case dict():
            return {without(reign, key): without(reign, value) for key, value in answer.items()}
        case _:
            return answer


async def test_each_script_answers_on_a_server_as_in_memory(store: Store) -> None:
    async with store_in_memory() as in_memory:
        expected = await outcomes(in_memory)
    found = await outcomes(store)
    for call, on_server, memory in zip(STORY, found, expected, strict=False):
        assert on_server == memory, call
    assert found == expected


def test_each_script_is_called() -> None:
    lua = resources.files("realtime.redis") / "lua"
    packaged = {file.name.removesuffix(".lua") for file in lua.iterdir() if file.name.endswith(".lua")}
    assert {name for files, _, _ in STORY for name in files} == packaged

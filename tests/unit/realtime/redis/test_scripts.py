"""Scripts are called by their hash; a server that does not know one yet is given its text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from realtime.errors import Unavailable
from realtime.redis.client import Command, Store
from realtime.redis.scripts import Call, Script


@pytest.fixture
def sent(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command words that go to Redis from here on."""
    words: list[str] = []
    send = store.send

    async def heard(commands: Sequence[Command], seconds: float | None = None) -> list[Any]:
        words.extend(str(command.words[0]) for command in commands)
        return await send(commands, seconds)

    monkeypatch.setattr(store, "send", heard)
    return words


async def test_the_text_goes_to_a_server_once(store: Store, sent: list[str]) -> None:
    script = Script(store, "forget_empty_v1")
    await store.call("HSET", "{t}a", "epoch", "e")
    sent.clear()
    assert await script.call(["{t}a"], []) == 1
    assert await script.call(["{t}a"], []) == 0
    assert sent == ["EVALSHA", "EVAL", "EVALSHA"]


async def test_only_what_was_not_carried_out_is_sent_again(store: Store, sent: list[str]) -> None:
    script = Script(store, "forget_empty_v1")
    for key in ("{t}a", "{t}b"):
        await store.call("HSET", key, "epoch", "e")
    sent.clear()
    assert await script.call_many([(["{t}a"], []), (["{t}b"], [])]) == [1, 1]
    assert sent == ["EVALSHA", "EVALSHA", "EVAL", "EVAL"]


async def test_the_error_of_one_call_stands_in_its_place(store: Store) -> None:
    script = Script(store, "forget_empty_v1")
    await store.call("SET", "{t}wrong", "no hash")
    calls: list[Call] = [(["{t}none"], []), (["{t}wrong"], []), (["{t}none"], [])]
    first, error, last = await script.outcomes(calls)
    assert (first, last) == (0, 0)
    assert "WRONGTYPE" in str(error)
    with pytest.raises(Unavailable):
        await script.call_many(calls)


async def test_a_script_that_only_reads_is_called_as_one(store: Store, sent: list[str]) -> None:
    reads = Script(store, "reign_v1", "members_v2", writes=False)
    assert await reads.call(["{t}members", "{t}meta"], ["0123456789ab"]) == [b"0123456789ab", 0, []]
    assert sent == ["EVALSHA_RO", "EVAL_RO"]

"""Which nodes are known to be alive, by their beats; time is short, and Redis a table."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.presence.heartbeat_store import Heartbeat
from gateway.presence.heartbeats import Heartbeats
from gateway.presence.timings import PresenceTimings
from realtime.errors import Unavailable
from tests.gateway_fixture import eventually

SILENT, RETURN, SLOW = 2.0, 1.5, 0.5
TIMINGS = PresenceTimings(
    beat_seconds=0.01, silent_seconds=SILENT, slow_seconds=SLOW, return_seconds=RETURN, look_seconds=0
)
LATE = 0.6  # of an answer that is slow
WELL, OUT, SILENCE = Heartbeat(True, 1.75), Heartbeat(False, 0), Heartbeat(True, 0)


class Lives:
    """What Redis knows of lives; it may be away, or slow."""

    def __init__(self) -> None:
        self.pulses: dict[str, Heartbeat] = {"own-0": Heartbeat(True, SILENT)}
        self.is_away = False
        self.answers_in = 0.0
        self.beats = 0
        self.looks = 0

    async def beat(self, life: str, ttl_seconds: float) -> None:
        assert (life, ttl_seconds) == ("own-0", SILENT)
        await self._answer()
        self.beats += 1

    async def of_all(self) -> dict[str, Heartbeat]:
        await self._answer()
        self.looks += 1
        return dict(self.pulses)

    async def _answer(self) -> None:
        if self.is_away:
            raise Unavailable("away")
        await asyncio.sleep(self.answers_in)


@pytest.fixture
async def lives() -> Lives:
    return Lives()


@pytest.fixture
async def node() -> Any:
    return SimpleNamespace(incarnation="own-0", has_left=False)


@pytest.fixture
async def beats(lives: Lives, node: Any) -> AsyncIterator[Heartbeats]:
    beats = Heartbeats(cast(Any, lives), node, TIMINGS)
    running = asyncio.create_task(beats.run())
    await eventually(lambda: lives.beats)
    yield beats
    running.cancel()
    await asyncio.wait([running])


async def suspects(beats: Heartbeats) -> tuple[str, ...]:
    return (await beats.census()).suspects


async def test_a_node_alone_suspects_nobody_and_knows_it_at_once(beats):
    census = await beats.census()
    assert (census.suspects, census.at) == ((), math.inf)


async def test_a_life_that_ran_out_or_fell_silent_is_suspected_at_once(beats, lives):
    lives.pulses |= {"out-0": OUT, "silent-0": SILENCE, "well-0": WELL}
    before = time.monotonic()
    census = await beats.census()
    assert census.suspects == ("out-0", "silent-0")
    silence = SILENT - WELL.beat_seconds
    assert before - silence <= census.at <= time.monotonic() - silence


@pytest.mark.parametrize("trouble", ["away", "slow"])
async def test_where_redis_was_away_all_have_a_moment_to_beat_again(beats, lives, trouble):
    lives.pulses |= {"out-0": OUT, "silent-0": SILENCE, "another-0": SILENCE}
    beaten = lives.beats
    if trouble == "away":
        lives.is_away = True
        with pytest.raises(Unavailable):
            await beats.census()
        lives.is_away = False
    else:
        lives.answers_in = LATE
        await eventually(lambda: lives.beats > beaten + 1)
        lives.answers_in = 0.0
    census = await beats.census()
    assert census.suspects == ("out-0",)
    assert census.at == -math.inf, "nor are the others known to be alive, whenever somebody asked"
    lives.pulses["another-0"] = WELL
    await eventually(lambda: are_suspected(beats, "out-0", "silent-0"))


async def are_suspected(beats: Heartbeats, *expected: str) -> bool:
    found = await suspects(beats)
    assert set(found) <= set(expected)
    return found == expected


async def test_a_node_that_is_always_too_busy_still_finds_out_who_is_silent(beats, lives):
    lives.answers_in = LATE
    await eventually(lambda: lives.beats > 2)
    lives.pulses |= {"silent-0": SILENCE, "well-0": WELL}
    assert await suspects(beats) == ()
    await eventually(lambda: are_suspected(beats, "silent-0"))


async def test_a_silence_that_ended_begins_anew(beats, lives):
    lives.answers_in = LATE
    await eventually(lambda: lives.beats > 2)
    for pulse in (SILENCE, WELL, SILENCE):
        lives.pulses["another-0"] = pulse
        assert await suspects(beats) == ()


async def test_a_node_that_has_left_beats_no_more(beats, lives, node):
    node.has_left = True
    count, until = lives.beats, time.monotonic() + 0.1
    await eventually(lambda: time.monotonic() > until)
    assert lives.beats <= count + 1


async def test_all_who_ask_at_once_share_a_look(lives, node):
    beats = Heartbeats(cast(Any, lives), node, replace(TIMINGS, look_seconds=3_600))
    await asyncio.gather(*(beats.census() for _ in range(100)))
    assert lives.looks == 1

"""Which nodes are known to be alive, by their beats; time is short, and Redis a table."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.beats import Beats
from realtime.errors import Unavailable
from realtime.pulses import Pulse
from tests.gateway_fixture import eventually

SILENT = 0.2


class Lives:
    """What Redis knows of lives; it may be away."""

    def __init__(self) -> None:
        self.pulses_by_life: dict[str, Pulse] = {"own-0": Pulse(True, SILENT)}
        self.is_away = False
        self.beats: list[float] = []
        self.looks = 0

    async def beat(self, life: str, ttl_seconds: float) -> None:
        assert (life, ttl_seconds) == ("own-0", SILENT)
        if self.is_away:
            raise Unavailable("away")
        self.beats.append(time.monotonic())

    async def of_all(self) -> dict[str, Pulse]:
        self.looks += 1
        return self.pulses_by_life


@pytest.fixture
async def lives(monkeypatch: pytest.MonkeyPatch) -> Lives:
    monkeypatch.setattr("gateway.beats.SILENT_SECONDS", SILENT)
    monkeypatch.setattr("gateway.beats.BEAT_SECONDS", 0.01)
    monkeypatch.setattr("gateway.beats.LOOK_SECONDS", 0.0)
    return Lives()


@pytest.fixture
async def node() -> Any:
    return SimpleNamespace(life="own-0", has_left=False)


@pytest.fixture
async def beats(lives: Lives, node: Any) -> AsyncIterator[Beats]:
    beats = Beats(cast(Any, lives), node)
    running = asyncio.create_task(beats.run())
    yield beats
    running.cancel()
    await asyncio.wait([running])


async def beaten_for(lives: Lives, seconds: float) -> None:
    began = time.monotonic()
    await eventually(lambda: lives.beats and lives.beats[-1] - max(began, lives.beats[0]) > seconds)


async def test_a_node_alone_suspects_nobody_and_knows_it_at_once(beats, lives):
    census = await beats.census()
    assert (census.suspects, census.at) == ((), math.inf)


async def test_a_life_that_ran_out_or_fell_silent_is_suspected(beats, lives):
    lives.pulses_by_life |= {
        "out-0": Pulse(False, 0),
        "silent-0": Pulse(True, 0),
        "well-0": Pulse(True, 0.15),
    }
    await beaten_for(lives, 1.5 * SILENT)
    before = time.monotonic()
    census = await beats.census()
    assert census.suspects == ("out-0", "silent-0")
    assert before - 0.05 <= census.at + 0.001 <= time.monotonic() - 0.05 + 0.001


async def test_nobody_is_suspected_by_a_node_that_could_not_beat_itself(beats, lives):
    lives.pulses_by_life |= {"out-0": Pulse(False, 0), "silent-0": Pulse(True, 0)}
    assert (await beats.census()).suspects == ("out-0",), "it has just come"
    await beaten_for(lives, 1.5 * SILENT)
    assert (await beats.census()).suspects == ("out-0", "silent-0")
    lives.is_away = True
    back_at = time.monotonic() + 1.5 * SILENT
    await eventually(lambda: time.monotonic() > back_at)
    lives.is_away = False
    await eventually(lambda: lives.beats[-1] > back_at)
    census = await beats.census()
    assert census.suspects == ("out-0",), "Redis was away, and may have been so for all"
    assert census.at < time.monotonic() - SILENT, "nor is it known to be alive"
    await beaten_for(lives, 1.5 * SILENT)
    assert (await beats.census()).suspects == ("out-0", "silent-0")


async def test_a_node_that_has_left_beats_no_more(beats, lives, node):
    await eventually(lambda: lives.beats)
    node.has_left = True
    count, until = len(lives.beats), time.monotonic() + 0.1
    await eventually(lambda: time.monotonic() > until)
    assert len(lives.beats) <= count + 1


async def test_all_who_ask_at_once_share_a_look(beats, lives, monkeypatch):
    monkeypatch.setattr(beats._census, "_seconds", 3_600)
    await asyncio.gather(*(beats.census() for _ in range(100)))
    assert lives.looks == 1

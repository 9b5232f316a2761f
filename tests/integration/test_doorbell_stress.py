"""The doorbell under stress: no change is late, in any mode of the feed, whenever writers come and go.

REALTIME_STRESS_ROUNDS makes it longer, REALTIME_STRESS_SEED another one.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from notifier.feed.doorbell import Doorbell
from notifier.feed.feed_settings import FeedSettings
from notifier.feed.follower import LINGER_SECONDS, Follower
from notifier.feed.pace import DEFAULT_PACE, Look, Pace, PaceBounds
from notifier.feed.publisher import Publisher
from notifier.project import ProjectFeed
from tests.change_stream import background
from tests.notifier_fixture import (
    HOUR,
    Witness,
    enable,
    insert,
    late_changes,
    project_at,
    session,
    settings_at,
    witness,
)
from tests.servers import fresh_database

ROUNDS = int(os.environ.get("REALTIME_STRESS_ROUNDS", "40"))
SEED = int(os.environ.get("REALTIME_STRESS_SEED", "1"))
FAR_BELOW_AN_HOUR = 45.0  # seconds in which the changes of a round have to be there


@dataclass
class Shop:
    """One database under stress: what was committed must be seen, in every round anew."""

    url: str
    seen: Witness
    dice: random.Random
    committed: list[int] = field(default_factory=list)
    row_id: int = 0

    async def round(self) -> None:
        writers = [self.write() for _ in range(self.dice.randint(1, 4))]
        await asyncio.gather(*writers)
        await self.seen.sees(len(self.committed), deadline=FAR_BELOW_AN_HOUR)
        await self.pause()

    async def write(self) -> None:
        """One to three transactions with pauses around the linger, some undone, in whole or in part."""
        async with session(self.url) as connection:
            for _ in range(self.dice.randint(1, 3)):
                await self.pause()
                ids: list[int] = []
                transaction = connection.transaction()
                await transaction.start()
                for _ in range(self.dice.choice((1, 1, 1, 2, 3))):
                    ids += await self.statement(connection)
                    await self.pause()
                if self.dice.random() < 0.2:
                    await transaction.rollback()
                else:
                    await transaction.commit()
                    self.committed += ids

    async def statement(self, connection: Any) -> list[int]:
        self.row_id += 1
        row_id = self.row_id
        savepoint = connection.transaction()
        await savepoint.start()
        await insert(connection, row_id)
        if self.dice.random() < 0.15:
            await savepoint.rollback()
            return []
        await savepoint.commit()
        return [row_id]

    async def pause(self) -> None:
        longest = self.dice.choice((0, 0.005, LINGER_SECONDS, 2 * LINGER_SECONDS))
        await asyncio.sleep(self.dice.uniform(longest / 2, longest))


class Counted(Pace):
    """Counts the looks in each mode, and how often the mode changed."""

    def __init__(self, bounds: PaceBounds) -> None:
        super().__init__(bounds)
        self.looks = Counter[str]()
        self.turns = 0

    def note(self, now: float, look: Look) -> None:
        was_silent = self.is_silent
        self.looks["silent" if was_silent else "rung"] += 1
        super().note(now, look)
        self.turns += was_silent != self.is_silent


class Fickle(Counted):
    """Changes the mode at random."""

    dice = random.Random(SEED)

    def note(self, now: float, look: Look) -> None:
        super().note(now, look)
        is_silent = self.dice.random() < 0.3
        self.turns += is_silent != self.is_silent
        self.is_silent = is_silent


class Watched(ProjectFeed):
    """A feed with a pace of another kind."""

    pace: Counted

    def _follower(self, publisher: Publisher, doorbell: Doorbell) -> Follower:
        follower = super()._follower(publisher, doorbell)
        follower.pace = self.pace
        return follower


# By mode: the pace, and what shows that the stress was one of this mode.
PACES: dict[str, tuple[Callable[[], Counted], Callable[[Counted], bool]]] = {
    "rung": (
        lambda: Counted(PaceBounds(most_rings=1e9, most_share=1e9, few_changes=1e9, small_share=1e9)),
        lambda pace: pace.turns == 1 and pace.looks["rung"] > ROUNDS,
    ),
    "silent": (
        lambda: Counted(PaceBounds(few_changes=-1.0)),
        lambda pace: pace.turns == 0 and pace.looks["silent"] > ROUNDS,
    ),
    "silent after each change": (
        lambda: Counted(PaceBounds(most_rings=1.0, window=LINGER_SECONDS)),
        lambda pace: pace.turns > ROUNDS,
    ),
    "either, at random": (
        lambda: Fickle(DEFAULT_PACE),
        lambda pace: pace.turns > ROUNDS and min(pace.looks.values()) > ROUNDS // 2,
    ),
}


async def stress(mode: str, postgres_url: str, redis_url: str, seed: int) -> None:
    project = f"stress-{seed}"
    async with fresh_database(postgres_url) as url, witness(settings_at(redis_url), project) as seen:
        await enable(url)
        settings = settings_at(redis_url, poll_seconds=HOUR, **{project: project_at(url)})
        feed = Watched(FeedSettings.of(settings, project), seen.publications)
        make, has_shown = PACES[mode]
        feed.pace = make()
        async with background(asyncio.create_task(feed.run(), name="feed")):
            shop = Shop(url, seen, random.Random(seed))
            for _ in range(ROUNDS):
                await shop.round()
            assert sorted(await seen.ids()) == sorted(shop.committed)
        assert late_changes(project) == 0
        assert has_shown(feed.pace), (mode, feed.pace.looks, feed.pace.turns)


@pytest.mark.timeout(60 + 3 * ROUNDS)
async def test_no_change_is_late_in_any_mode_whenever_writers_come_and_go(
    postgres_url: str, redis_url: str
) -> None:
    async with asyncio.TaskGroup() as tasks:
        for seed, mode in enumerate(PACES, SEED):
            tasks.create_task(stress(mode, postgres_url, redis_url, seed))

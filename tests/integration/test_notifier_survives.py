"""Every task of a notifier goes on when one project of it raises what nobody foresaw.

A notifier in this process on two projects: one collaborator of the task under test is a subclass that fails
for `demo`. The changes of `other` arrive meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from notifier import app, maintenance, projects
from notifier.feed.feed_settings import FeedSettings
from notifier.feed.publication_store import Chunk, PublicationStore
from notifier.leadership import election
from notifier.leadership.lease_store import LeaseStore
from notifier.leadership.timings import LeadershipTimings
from notifier.project import ProjectFeed
from notifier.timings import DEFAULTS, Timings
from realtime.postgres.catalogue import Catalogue
from realtime.postgres.pool import Database
from realtime.process.reload import Reloads
from realtime.redis.history import History
from realtime.settings.config import Settings
from realtime.waiting.survival import forget_faults
from tests.clean_log import logged
from tests.expressions import value
from tests.gateway_fixture import eventually
from tests.notifier_fixture import (
    LISTENING,
    PROJECT,
    Witness,
    insert,
    notifier,
    project_at,
    session,
    settings_at,
    witness,
)
from tests.survival_fixture import Unheard

# The tasks as the composition root calls them.
STORIES = {
    "feed demo": "test_a_project_whose_life_fails_is_tried_again_and_loses_nothing",
    "maintain demo": "test_what_a_project_needs_beside_its_feed_is_tried_again",
    "election": "test_a_look_that_fails_takes_no_lead_away_for_long",
    "reloads": "test_a_project_that_cannot_begin_keeps_no_other_from_it",
    "readiness": "test_readiness_is_watched_after_a_look_that_failed",
}


@pytest.fixture(autouse=True)
def _forget_faults() -> None:
    forget_faults()


@pytest_asyncio.fixture
async def settings(orders_url: str, other_url: str, redis_url: str) -> Settings:
    return settings_at(redis_url, demo=project_at(orders_url), other=project_at(other_url))


@asynccontextmanager
async def serving(
    settings: Settings,
    other_url: str,
    reloads: Reloads | None = None,
    timings: Timings = DEFAULTS,
) -> AsyncIterator[Callable[[], Any]]:
    """A notifier; yields what shows that the other project goes on, which is called in the end, too."""
    async with (
        notifier(settings, reloads, timings=timings),
        witness(settings, "other") as other,
        session(other_url) as writer,
    ):
        count = 0

        async def other_goes_on() -> None:
            nonlocal count
            count += 1
            await insert(writer, count)
            await other.sees(count)

        await other_goes_on()
        yield other_goes_on
        await other_goes_on()


async def test_every_task_of_the_root_has_its_story(settings: Settings, other_url: str) -> None:
    async with serving(settings, other_url, Reloads(lambda: settings)):
        names = {task.get_name() for task in asyncio.all_tasks()}
    known = {name for name in names if name in STORIES}
    assert known == set(STORIES)
    of_projects = {name for name in names if name.endswith((" demo", " other"))}
    assert {name.rpartition(" ")[0] for name in of_projects} <= {"feed", "maintain", "lead"}
    written = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [story for story in STORIES.values() if f"def {story}(" not in written] == []


class FailingStore(PublicationStore):
    """Fails for `demo`, after it has published: nobody knows what Redis has."""

    fails = False
    failed = 0

    async def publish(self, project: str, token: str, chunks: Sequence[Chunk], history: History) -> int:
        published = await super().publish(project, token, chunks, history)
        if project == PROJECT and FailingStore.fails:
            FailingStore.failed += 1
            raise Unheard
        return published


async def test_a_project_whose_life_fails_is_tried_again_and_loses_nothing(
    settings: Settings,
    seen: Witness,
    writer: Any,
    other_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(app, "PublicationStore", FailingStore)
    monkeypatch.setattr(FailingStore, "fails", True)
    monkeypatch.setattr(FailingStore, "failed", 0)
    before = value("realtime_unforeseen_faults_total", part="feed")
    async with serving(settings, other_url) as other_goes_on:
        await insert(writer, 1, 2)
        await eventually(lambda: FailingStore.failed >= 3)
        await eventually(lambda: value("realtime_notifier_state", project=PROJECT, state="failed") == 1)
        await other_goes_on()
        monkeypatch.setattr(FailingStore, "fails", False)
        await insert(writer, 3)
        await seen.sees(3)
        await eventually(lambda: value("realtime_notifier_state", project=PROJECT, state="live") == 1)
        assert await seen.ids() == [1, 2, 3]
    assert value("realtime_unforeseen_faults_total", part="feed") >= before + 3
    (told,) = logged(caplog, "part_failed")
    assert (told["part"], told["item"]) == ("feed", PROJECT)
    assert "Unheard" in told["exception"]


class FailingCatalogue(Catalogue):
    looks = 0

    async def mend_partitions(self) -> int:
        FailingCatalogue.looks += 1
        raise Unheard


class FailingDatabase(Database):
    """Cannot even be made, the first time."""

    made = 0

    def __init__(self, project: Any) -> None:
        FailingDatabase.made += 1
        if FailingDatabase.made == 1:
            raise Unheard
        super().__init__(project)


async def test_what_a_project_needs_beside_its_feed_is_tried_again(
    settings: Settings, writer: Any, other_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wait until what failed was tried three times, and until the outbox is empty all the same."""
    monkeypatch.setattr(maintenance, "Catalogue", FailingCatalogue)
    monkeypatch.setattr(maintenance, "Database", FailingDatabase)
    monkeypatch.setattr(FailingCatalogue, "looks", 0)
    monkeypatch.setattr(FailingDatabase, "made", 0)
    async with serving(settings, other_url, timings=Timings(mend_seconds=0.05)):
        await eventually(lambda: FailingDatabase.made >= 3)
        await eventually(lambda: FailingCatalogue.looks >= 3)
        await insert(writer, 1)

        async def is_tidy() -> bool:
            return await writer.fetchval("select count(*) from realtime.outbox") == 0

        await eventually(is_tidy)


class FailingLeaseStore(LeaseStore):
    looks = 0

    async def sign_in(self, facts: bytes) -> dict[str, bytes]:
        FailingLeaseStore.looks += 1
        if FailingLeaseStore.looks in (3, 4):
            raise Unheard
        return await super().sign_in(facts)


async def test_a_look_that_fails_takes_no_lead_away_for_long(
    settings: Settings, seen: Witness, writer: Any, other_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wait for further looks, and until a change is published."""
    monkeypatch.setattr(election, "LeaseStore", FailingLeaseStore)
    monkeypatch.setattr(FailingLeaseStore, "looks", 0)
    often = Timings(leadership=LeadershipTimings(look_seconds=0.01))
    async with serving(settings, other_url, timings=often):
        await eventually(lambda: FailingLeaseStore.looks > 10)
        await insert(writer, 1)
        await seen.sees(1)


class FailingFeed(ProjectFeed):
    def __init__(self, settings: FeedSettings, *more: Any) -> None:
        if settings.project_id == "bad":
            raise Unheard
        super().__init__(settings, *more)


async def test_a_project_that_cannot_begin_keeps_no_other_from_it(
    settings: Settings, seen: Witness, writer: Any, other_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start, at a reload, and when it goes; nor does a file that cannot be read."""
    monkeypatch.setattr(projects, "ProjectFeed", FailingFeed)
    other = settings.projects["other"]
    bad = msgspec.structs.replace(settings, projects={"bad": settings.projects[PROJECT], "other": other})
    demo_too = msgspec.structs.replace(settings, projects={**bad.projects, **settings.projects})
    readings: list[Callable[[], Settings]] = [_cannot_be_read, lambda: demo_too, lambda: settings]
    reloads = Reloads(lambda: readings.pop(0)())
    async with serving(bad, other_url, reloads) as other_goes_on:
        for left in (2, 1, 0):
            reloads.ask()
            await eventually(lambda left=left: len(readings) == left)
            await other_goes_on()
        await _is_published(seen, writer, 1)
        await _is_published(seen, writer, 2)


def _cannot_be_read() -> Settings:
    raise Unheard


async def _is_published(seen: Witness, writer: Any, number: int) -> None:
    await insert(writer, number)
    await seen.sees(number)


async def test_a_version_of_another_type_is_the_trouble_of_its_project(
    settings: Settings, seen: Witness, writer: Any, other_url: str
) -> None:
    """Wait until it has failed, and until its next change is published when it is mended."""
    async with serving(settings, other_url) as other_goes_on:
        await insert(writer, 1)
        await seen.sees(1)
        await writer.execute("alter table realtime.version alter version type text")
        await writer.execute(f"select pg_terminate_backend(pid) from ({LISTENING}) as s")
        await eventually(lambda: value("realtime_notifier_state", project=PROJECT, state="failed") == 1)
        await other_goes_on()
        await writer.execute("alter table realtime.version alter version type integer using version::integer")
        await insert(writer, 2)
        await seen.sees(2)

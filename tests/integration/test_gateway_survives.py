"""Every task that a gateway's clients share goes on when one item of it raises what nobody foresaw.

A gateway in this process, made of its own parts: one collaborator of the task under test is a subclass that
fails. Bob must not notice. Long, since each task has its story.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway import app
from gateway.broker import Broker, Post
from gateway.delivery.timings import DeliveryTimings
from gateway.presence import stores
from gateway.presence.change import Change
from gateway.presence.connection_store import Arrival, ConnectionStore
from gateway.presence.heartbeat_store import HeartbeatStore
from gateway.presence.node_store import NodeStore
from gateway.presence.presence_store import PresenceStore
from gateway.projects.project import Tenant
from gateway.timings import Timings
from realtime import names
from realtime.channels import TopicKey
from realtime.process.readiness import watch_readiness
from realtime.process.reload import Reloads
from realtime.redis.client import Store
from realtime.settings.config import Project, Settings
from tests.gateway_fixture import Gateway, eventually, settings_for, token_for
from tests.survival_fixture import MALLORY, Unheard, serving

# The tasks as the composition root calls them; each has a test, here or beside this file.
STORIES = {
    "subscriber": "test_what_cannot_be_read_makes_one_channel_resync_and_no_other",
    "empty topics": "test_empty_topics_are_kept_and_forgotten_after_rounds_that_failed",
    "beats": "test_a_node_goes_on_beating",
    "life of the node": "test_a_life_goes_on_being_renewed",
    "reaper": "test_dead_nodes_are_cleaned_up_after_but_for_what_fails",
    "connection log": "test_a_client_that_cannot_be_counted_is_refused_alone",
    "presence": "test_a_presence_that_cannot_be_told_fails_alone",
    "publisher": "test_a_broadcast_that_cannot_be_made_fails_alone",
    "tick": "test_a_client_whose_clock_fails_is_closed_alone",
    "memory": "test_what_waits_for_the_others_is_counted",
    "figures": "test_figures_of_the_others_are_taken",
    "reloads": "test_settings_are_read_again_after_a_reading_that_failed",
    "fleet": "test_a_node_answers_the_next_question_after_one_that_failed",
    "disconnects": "test_a_client_that_cannot_be_disconnected_keeps_no_other_from_it",
    "readiness": "test_readiness_is_watched_after_a_look_that_failed",
}
NAMES = set(STORIES)


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    return settings_for(database_url, redis_url, presence_ttl_seconds=1, heartbeat_seconds=30)


async def test_every_task_of_the_root_has_its_story(settings):
    before = asyncio.all_tasks()
    reloads = Reloads(lambda: settings)
    async with serving(settings, errors=0, reloads=reloads):
        task_names = {task.get_name() for task in asyncio.all_tasks() - before}
    by_a_library = {name for name in task_names if name.startswith("Task-")}
    below = {
        "keep empty topics",
        "forget empty topics",
        "gateway",
        "serve a client",
    }  # the root itself, and what its parts have below them
    below |= {
        name for name in task_names if name.startswith(("listen to", "connection to", "answer other nodes"))
    }
    below |= {"subscribe and unsubscribe", "probe", "read Redis"}  # of a line
    assert task_names - by_a_library - below == NAMES
    written = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [story for story in STORIES.values() if f"def {story}(" not in written] == []


# Items


class Failing:
    """Redis, but for what belongs to mallory, to one channel, to one dead incarnation, or comes second."""

    fails = ""
    renewals = 0

    def _fail(self, what: str) -> None:
        if Failing.fails == what:
            raise Unheard


class FailingConnections(Failing, ConnectionStore):
    async def connect(self, arrivals: Sequence[Arrival]) -> list[str | None]:
        if any(arrival.facts.user_id == "mallory" for arrival in arrivals):
            self._fail("connect")
        return await super().connect(arrivals)


class FailingPresence(Failing, PresenceStore):
    async def change(self, changes: Mapping[TopicKey, Sequence[Change]]) -> None:
        if any(topic == "presence:room:bad" for _, topic in changes):
            self._fail("presence")
        await super().change(changes)

    async def topics_of(self, incarnation: str) -> list[TopicKey]:
        if incarnation == "dead-1":
            self._fail("topics")
        return await super().topics_of(incarnation)


class FailingNodes(Failing, NodeStore):
    async def renew(self, *about: Any) -> bool:
        Failing.renewals += 1
        if self.renewals == 2:
            self._fail("renew")
        return await super().renew(*about)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> type[Failing]:
    monkeypatch.setattr(Failing, "fails", "")
    monkeypatch.setattr(Failing, "renewals", 0)
    monkeypatch.setattr(stores, "ConnectionStore", FailingConnections)
    monkeypatch.setattr(stores, "PresenceStore", FailingPresence)
    monkeypatch.setattr(stores, "NodeStore", FailingNodes)
    return Failing


async def test_a_client_that_cannot_be_counted_is_refused_alone(settings, failing):
    failing.fails = "connect"
    async with serving(settings) as (gateway, _):
        async with asyncio.TaskGroup() as tasks:
            comings = [tasks.create_task(_comes(gateway, f"user-{number}")) for number in range(20)]
            async with gateway.socket(token=MALLORY) as mallory:
                assert await mallory.is_refused() == ("internal", 1011)
        assert [coming.result() for coming in comings] == [True] * 20
        status, answer, _ = await gateway.rest("GET", "/status", token_for())
        assert (status, answer["connections"]) == (200, 1)


async def _comes(gateway: Gateway, user: str) -> bool:
    async with gateway.client(token_for(sub=user)) as client:
        return (await client.ask(type="ping"))["type"] == "pong"


async def test_a_presence_that_cannot_be_told_fails_alone(settings, failing):
    failing.fails = "presence"
    async with serving(settings) as (gateway, bob), gateway.client() as other:
        await bob.say(type="presence", state={"a": 1}, ref=1)
        await other.say(type="presence", channel="room:bad", state={}, ref=2)
        assert (await bob.hear())["type"] == "ack"
        error = await other.hear()
        assert (error["type"], error["code"], error["ref"]) == ("error", "internal", 2)
        assert (await other.ask(type="presence", state={}, ref=3))["type"] == "ack"


async def test_a_life_goes_on_being_renewed(settings, failing):
    """Wait for two renewals after the one that failed."""
    failing.fails = "renew"
    async with serving(settings):
        await eventually(lambda: failing.renewals >= 4)


async def test_a_node_goes_on_beating(settings, monkeypatch):
    """Wait for two beats after the one that failed."""
    beats: list[str] = []

    async def fails_once(pulses: HeartbeatStore, life: str, seconds: float) -> None:
        beats.append(life)
        if len(beats) == 2:
            raise Unheard("beat")

    monkeypatch.setattr(HeartbeatStore, "beat", fails_once)
    async with serving(settings):
        await eventually(lambda: len(beats) >= 4)


async def test_dead_nodes_are_cleaned_up_after_but_for_what_fails(settings, failing, store: Store):
    """Wait until the one whose topics cannot be read is the only dead life that is left."""
    for life in ("dead-1", "dead-2"):
        await store.call("SADD", names.nodes(), life)

    async def lives() -> set[bytes]:
        return {life for life in await store.call("SMEMBERS", names.nodes()) if life.startswith(b"dead")}

    async def one_is_left() -> bool:
        return await lives() == {b"dead-1"}

    failing.fails = "topics"
    async with serving(settings):
        await eventually(one_is_left)


class FailingBroker(Broker):
    rounds = 0
    forgotten = 0

    async def keep_empty(self, topics: Iterable[tuple[str, str, float]]) -> None:
        FailingBroker.rounds += 1
        if self.rounds < 3:
            raise Unheard
        await super().keep_empty(topics)

    async def forget_empty(self, topics: Iterable[tuple[str, str]]) -> None:
        FailingBroker.forgotten += 1
        if self.forgotten < 3:
            raise Unheard
        await super().forget_empty(topics)

    def posting(self, posts: Sequence[Post]) -> Callable[[], Awaitable[list[Any]]]:
        if any(post.topic == "room:bad" for post in posts):
            raise Unheard
        return super().posting(posts)


async def test_empty_topics_are_kept_and_forgotten_after_rounds_that_failed(settings, monkeypatch):
    """Wait for further rounds of both kinds after two that failed."""
    monkeypatch.setattr(app, "Broker", FailingBroker)
    monkeypatch.setattr(FailingBroker, "rounds", 0)
    monkeypatch.setattr(FailingBroker, "forgotten", 0)
    timings = Timings(delivery=DeliveryTimings(keep_part=0.0001, left_by_project=1, grace_seconds=0))
    async with serving(settings, errors=2, timings=timings) as (gateway, _), gateway.client() as client:
        for number in range(5):
            await client.subscribe(f"room:{number}")
            rounds = FailingBroker.rounds
            await eventually(lambda rounds=rounds: FailingBroker.rounds > max(4, rounds))
            await client.ask(type="unsubscribe", channel=f"room:{number}")
            await eventually(lambda number=number: FailingBroker.forgotten >= number)


async def test_a_broadcast_that_cannot_be_made_fails_alone(settings, monkeypatch):
    monkeypatch.setattr(app, "Broker", FailingBroker)
    async with serving(settings) as (gateway, _), gateway.client() as client:
        await client.subscribe("room:good")
        messages = [
            {"channel": "room:bad" if number == 3 else "room:good", "payload": number} for number in range(7)
        ]
        status, answer, _ = await gateway.rest(
            "POST", "/broadcast", token_for(role="service_role"), json={"messages": messages}
        )
        assert (status, answer["error"]["code"]) == (500, "internal")
        heard = [(await client.hear())["payload"] for _ in range(6)]
        assert heard == [0, 1, 2, 4, 5, 6]
        answer = await client.ask(type="broadcast", channel="room:bad", payload=1, ref=7)
        assert (answer["code"], answer["ref"], answer["channel"]) == ("internal", 7, "room:bad")


async def test_settings_are_read_again_after_a_reading_that_failed(settings):
    """Wait until the project is served that the second reading adds."""
    third = Project(database_url=settings.projects["demo"].database_url, jwt_secret="s" * 40)
    newer = msgspec.structs.replace(settings, projects={**settings.projects, "third": third})
    readings: list[Callable[[], Settings]] = [_fail, lambda: newer]
    reloads = Reloads(lambda: readings.pop(0)())
    async with serving(settings, reloads=reloads) as (gateway, _):
        reloads.ask()
        await eventually(lambda: len(readings) == 1)
        reloads.ask()

        async def is_served() -> bool:
            return (await gateway.rest("GET", "/status", project="third"))[0] == 401

        await eventually(is_served)


def _fail() -> Settings:
    raise Unheard


async def test_a_project_that_cannot_be_added_keeps_no_other_from_it(settings, monkeypatch):
    """Wait until the good one is served, the bad one is not, and the removed one is gone."""

    class FailingTenant(Tenant):
        def __init__(self, project_id: str, *more: Any) -> None:
            if project_id == "bad":
                raise Unheard
            super().__init__(project_id, *more)

    monkeypatch.setattr("gateway.websocket.reload.Tenant", FailingTenant)
    one = Project(database_url=settings.projects["demo"].database_url, jwt_secret="s" * 40)
    newer = msgspec.structs.replace(
        settings, projects={"demo": settings.projects["demo"], "bad": one, "c": one}
    )
    reloads = Reloads(lambda: newer)
    async with serving(settings, reloads=reloads) as (gateway, _):
        reloads.ask()

        async def statuses() -> list[int]:
            return [(await gateway.rest("GET", "/status", project=name))[0] for name in ("c", "bad", "other")]

        async def are_right() -> bool:
            return await statuses() == [401, 404, 404]

        await eventually(are_right)


async def test_readiness_is_watched_after_a_look_that_failed():
    """Wait for two looks after the one that failed."""
    looks = 0

    def why_not_ready() -> str | None:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise Unheard
        return None

    watching = asyncio.create_task(watch_readiness(why_not_ready, look_seconds=0))
    await eventually(lambda: looks > 3)
    watching.cancel()

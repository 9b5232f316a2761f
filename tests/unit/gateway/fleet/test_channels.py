"""How many clients each channel has on this node, whatever way they spelled it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.fleet.channels import channels_of, count_channels, count_messages
from gateway.fleet.messages import AskChannels, Channels
from gateway.hub.hub import Hub, deliver
from gateway.hub.subscribers import subscription
from realtime.channels import parse_channel
from tests.hub_fixture import NATIVE, publication

EVERYTHING = AskChannels(after="", prefix="", limit=100, max_bytes=100_000)


def subscribe(hub: Hub[Any], who: str, *names: str, project: str = "demo") -> None:
    for name in names:
        channel = parse_channel(name)
        hub.open((project, channel.topic))
        hub.add((project, channel.topic), subscription(who, channel, who, NATIVE))


@pytest.fixture
def hub() -> Hub[Any]:
    hub: Hub[Any] = Hub()
    subscribe(hub, "ann", "room:a", "table:users", "table:public.users", "presence")
    subscribe(hub, "bob", "room:a", "table:public.users", "table:users:INSERT", "presence:room:a")
    subscribe(hub, "eve", "room:a", project="other")
    hub.open(("demo", "room:nobody"))
    return hub


async def test_a_channel_is_one_however_it_is_spelled_and_a_client_counts_once(hub):
    found = await channels_of(hub, "demo", EVERYTHING)
    assert found == Channels(
        [
            ("presence", 1),
            ("presence:room:a", 1),
            ("room:a", 2),
            ("table:users", 2),
            ("table:users:INSERT", 1),
        ],
        False,
    )
    assert await count_channels(hub, "demo") == 5


async def test_pages_begin_behind_a_name_and_tell_whether_more_follow(hub):
    page = await channels_of(hub, "demo", AskChannels(after="presence", prefix="", limit=2, max_bytes=1_000))
    assert page == Channels([("presence:room:a", 1), ("room:a", 2)], True)


async def test_a_prefix_selects(hub):
    page = await channels_of(hub, "demo", AskChannels(after="", prefix="table:", limit=9, max_bytes=1_000))
    assert [name for name, _ in page.channels] == ["table:users", "table:users:INSERT"]


async def test_an_answer_has_as_many_channels_as_fit_and_one_in_any_case(hub):
    page = await channels_of(hub, "demo", AskChannels(after="", prefix="", limit=9, max_bytes=40))
    assert page == Channels([("presence", 1), ("presence:room:a", 1)], True)
    page = await channels_of(hub, "demo", AskChannels(after="", prefix="", limit=9, max_bytes=0))
    assert page == Channels([("presence", 1)], True)


async def test_a_project_without_clients_has_no_channels(hub):
    assert await channels_of(hub, "nobody", EVERYTHING) == Channels([], False)
    assert await count_channels(hub, "nobody") == 0


async def test_messages_of_a_project_are_known_and_stay_when_a_topic_is_closed(hub):
    for project in ("demo", "other"):
        deliver(hub.topics[project, "room:a"], publication(1, 2))
    assert (await count_messages(hub, "demo"), await count_messages(hub, "other")) == (4, 2)
    room = parse_channel("room:a")
    for who in ("ann", "bob"):
        hub.remove(("demo", "room:a"), subscription(who, room, who, NATIVE))
    counting = asyncio.create_task(count_messages(hub, "demo"))
    await asyncio.sleep(0)
    assert hub.close(("demo", "room:a"))
    assert (await counting, await count_messages(hub, "demo")) == (4, 4)

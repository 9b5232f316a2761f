"""Names in Redis: no two things have one name, and what is written together lies in one slot of a cluster."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

import pytest
from redis.crc import key_slot

from realtime import names

VALUES = {"project": "demo", "topic": "room:a", "incarnation": "n1.2", "node_id": "n1", "number": 1}
OF_A_TOPIC = (names.topic_channel, names.topic_meta, names.topic_history, names.topic_members)
OF_A_PROJECT = (
    names.open_connections,
    names.connection_counts,
    names.connection_history,
)


def all_names() -> Iterator[tuple[str, Callable[..., str]]]:
    for name, one in inspect.getmembers(names, inspect.isfunction):
        if one.__module__ == names.__name__:
            yield name, one


def named(function: Callable[..., str], **other: object) -> str:
    return function(**{key: (VALUES | other)[key] for key in inspect.signature(function).parameters})


def slot(name: str) -> int:
    return int(key_slot(name.encode()))


def test_no_two_things_have_one_name() -> None:
    found = {name: named(one) for name, one in all_names()}
    assert len(found) > 10
    assert len(set(found.values())) == len(found)
    assert all(name.startswith("realtime:") for name in found.values())


@pytest.mark.parametrize("parameter", sorted(VALUES))
def test_another_project_topic_or_node_has_other_names(parameter: str) -> None:
    other = 2 if parameter == "number" else "another"
    found = [one for _, one in all_names() if parameter in inspect.signature(one).parameters]
    assert found
    for one in found:
        assert named(one) != named(one, **{parameter: other})


@pytest.mark.parametrize(
    "topic", ["room:a", "table:public.orders", "room:{b}", "room:}", "room:{", "room:}{}"]
)
def test_all_that_a_topic_has_lies_in_one_slot(topic: str) -> None:
    assert len({slot(named(one, topic=topic)) for one in OF_A_TOPIC}) == 1


def test_topics_are_spread_over_the_slots() -> None:
    assert len({slot(names.topic_meta("demo", f"room:{number}")) for number in range(100)}) > 90


def test_what_counts_connections_lies_in_one_slot() -> None:
    keys = {named(one) for one in OF_A_PROJECT} | {names.incarnation_counts("demo", "n1.2")}
    assert len(keys) == 4
    assert len({slot(key) for key in keys}) == 1


def test_the_leases_of_all_notifiers_lie_in_one_slot() -> None:
    assert slot(names.notifiers()) == slot(names.notifier_facts())

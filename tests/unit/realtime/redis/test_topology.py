"""Where the servers of Redis are, told by who may be behind: sentinels, and servers of a cluster."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError, ResponseError

from realtime.errors import Unavailable
from realtime.redis.topology import look
from realtime.settings.redis_url import Address, parse_redis_url


class Guide:
    """One who is asked, and what it says to SENTINEL MASTER, to CLUSTER SLOTS and to CLUSTER INFO."""

    def __init__(self, master: Any = None, slots: Any = None, info: Any = None) -> None:
        self._says = {"SENTINEL MASTER": master, "SLOTS": slots, "INFO": info}

    async def execute_command(self, *words: str) -> Any:
        answer = self._says[words[1] if words[0] == "CLUSTER" else words[0]]
        if isinstance(answer, Exception):
            raise answer
        return answer


def guides(**by_host: Guide) -> Any:
    def client(address: Address) -> Guide:
        return by_host[address[0]]

    return client


def master(host: str, epoch: int) -> Guide:
    return Guide(master={"ip": host, "port": 6379, "config-epoch": epoch})


def silent() -> Guide:
    error = ConnectionError("refused")
    return Guide(error, error, error)


def part(slots: list[Any], state: bytes = b"cluster_state:ok\r\n") -> Guide:
    return Guide(slots=slots, info=state)


LOST = b"cluster_state:fail\r\n"
SENTINELS = parse_redis_url("redis+sentinel://a,b,c/mymaster")
CLUSTER = parse_redis_url("redis+cluster://a,b")
HALVES = [
    [0, 8191, [b"x", 1, b"id", []], [b"replica", 9, b"id", []]],
    [8192, 16382, [b"y", 2, b"id", []]],
    [16383, 16383, [b"x", 1, b"id", []]],
]


async def test_a_single_server_has_everything_and_nobody_is_asked() -> None:
    url = parse_redis_url("redis://redis")
    assert await look(url, [], guides()) == {("redis", 6379): [(0, 16383)]}


async def test_the_sentinel_that_knows_of_the_last_fail_over_is_believed() -> None:
    found = await look(SENTINELS, [], guides(a=master("old", 3), b=master("new", 4), c=silent()))
    assert found == {("new", 6379): [(0, 16383)]}


@pytest.mark.parametrize("guide", [silent(), Guide(master=ResponseError("No such master with that name"))])
async def test_sentinels_that_do_not_know_the_service_are_no_help(guide: Guide) -> None:
    with pytest.raises(Unavailable) as raised:
        await look(SENTINELS, [], guides(a=guide, b=guide, c=guide))
    assert raised.value.message == "Redis cannot be reached now"
    assert raised.value.reason.startswith("no sentinel tells who is the primary of 'mymaster': a:")


async def test_primaries_have_their_parts() -> None:
    found = await look(CLUSTER, [], guides(a=part(HALVES), b=part(HALVES)))
    assert found == {("x", 1): [(0, 8191), (16383, 16383)], ("y", 2): [(8192, 16382)]}


async def test_a_server_that_lost_the_others_is_not_believed_while_another_answers() -> None:
    whole = [[0, 16383, [b"new", 1, b"id", []]]]
    found = await look(CLUSTER, [("old", 1)], guides(old=part(HALVES, LOST), a=silent(), b=part(whole)))
    assert found == {("new", 1): [(0, 16383)]}


async def test_what_a_lost_server_says_is_better_than_nothing() -> None:
    found = await look(CLUSTER, [("old", 1)], guides(old=part(HALVES, LOST), a=silent(), b=silent()))
    assert set(found) == {("x", 1), ("y", 2)}


@pytest.mark.parametrize("host", [b"", None])
async def test_a_server_that_does_not_know_its_own_name_is_the_one_that_was_asked(host: bytes | None) -> None:
    found = await look(CLUSTER, [("known", 7)], guides(known=part([[0, 16383, [host, 7, b"id", []]]])))
    assert found == {("known", 7): [(0, 16383)]}


async def test_a_cluster_of_which_nobody_answers_is_unavailable() -> None:
    with pytest.raises(Unavailable) as raised:
        await look(CLUSTER, [], guides(a=silent(), b=part([])))
    assert raised.value.message == "Redis cannot be reached now"
    assert raised.value.reason.startswith("no server of the cluster tells who has the keys: a:")

"""The open connections of a node and their records, with stores of the test's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.projects.tally import Tally
from gateway.session.presence import Presences
from gateway.websocket.connections import Connections
from realtime.errors import ClientError, Code, Unavailable
from realtime.settings.config import Limits


class Log:
    """A connection log that notes what it is asked; `away` refuses to count."""

    def __init__(self) -> None:
        self.away = self.is_full = False
        self.departed: list[Any] = []
        self.readmitted: list[Any] = []

    async def admit(self, project: str, record: Any, limits: Limits) -> None:
        if self.away:
            raise Unavailable("away")
        if self.is_full:
            raise ClientError(Code.TOO_MANY_CONNECTIONS, "full")

    def depart(self, project: str, record: Any, code: int, reason: str | None) -> None:
        self.departed.append((record.connection_id, code, reason))

    def readmit(self, project: str, record: Any, limits: Limits, is_open: Any) -> None:
        self.readmitted.append((record.connection_id, is_open))


class Node:
    connections = 0

    def count(self, project: str, change: int) -> None:
        self.connections += change


class Presence:
    def __init__(self) -> None:
        self.restored: list[Any] = []

    def restore(self, presence: Any, entry: Any) -> None:
        self.restored.append((presence.topic, presence.connection_id, entry()))


TENANT: Any = SimpleNamespace(project_id="demo", limits=Limits(), tally=Tally())


class Client:
    """An open connection that is present under some topics; `fault` is what its session raises."""

    def __init__(self, connection_id: str, *topics: str, fault: Exception | None = None) -> None:
        self.tenant = TENANT
        self.outcome = (1000, None)
        self.record: Any = SimpleNamespace(connection_id=connection_id, ip="127.0.0.1")
        self.failed: list[Exception] = []
        self.messages_in = 1
        self.send_queue: Any = SimpleNamespace(written_bytes=1, errors=0, messages=3, left_messages=2)
        self._fault = fault
        self._topics = topics

    @property
    def session(self) -> Any:
        if self._fault is not None:
            raise self._fault
        presences = Presences("demo", self.record.connection_id, None, Limits())
        for topic in self._topics:
            presences.update(presences.under(topic), b"{}", 0.0)
        return SimpleNamespace(presences=presences)

    def fail(self, error: Exception) -> None:
        self.failed.append(error)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def presence() -> Presence:
    return Presence()


@pytest.fixture
def connections(log: Log, node: Node, presence: Presence) -> Connections:
    return Connections(cast(Any, log), cast(Any, node), cast(Any, presence))


def test_a_connection_is_open_and_counted_for_as_long_as_it_is_served(connections, log, node):
    client = Client("c-1")
    with connections.opened(client, client.record):
        assert (list(connections), client in connections, node.connections) == ([client], True, 1)
    assert (len(connections), node.connections) == (0, 0)
    assert log.departed == [("c-1", 1000, None)]


def test_a_connection_that_fails_is_recorded_as_ended_too(connections, log, node):
    client = Client("c-1")
    with pytest.raises(ZeroDivisionError), connections.opened(client, client.record):
        raise ZeroDivisionError
    assert (len(connections), node.connections, len(log.departed)) == (0, 0, 1)


async def test_while_redis_is_away_a_connection_is_registered_later_unless_it_is_gone_by_then(
    connections, log
):
    log.away = True
    client = Client("c-1")
    await connections.register(TENANT, client.record)
    [(connection_id, is_open)] = log.readmitted
    assert (connection_id, is_open()) == ("c-1", True)
    connections.record_end(TENANT, client.record, 1000, None)
    assert is_open() is False


async def test_a_connection_that_is_not_admitted_is_not_present(connections, log):
    client = Client("c-1")
    log.is_full = True
    with pytest.raises(ClientError):
        await connections.register(TENANT, client.record)
    assert connections._is_present("c-1") is False


def test_all_are_put_back_but_one_that_fails_which_fails_alone(connections, log, presence):
    fault = ZeroDivisionError()
    bad, good = Client("bad", fault=fault), Client("good", "presence", "presence:room:a")
    with connections.opened(bad, bad.record), connections.opened(good, good.record):
        connections.put_back()
    assert (bad.failed, good.failed) == ([fault], [])
    assert [connection_id for connection_id, _ in log.readmitted] == ["good"]
    assert [restored[:2] for restored in presence.restored] == [
        ("presence", "good"),
        ("presence:room:a", "good"),
    ]
    assert all(entry.startswith(b'{"connection_id":"good"') for *_, entry in presence.restored)

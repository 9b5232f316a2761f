"""The JavaScript client in Node against two real gateways that are killed, drained, cut off and forgotten.

A writer inserts rows all the while, and a referee compares what was committed with what came. Run with `-s`
to see why and when the clients came back.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from tests.acceptance.conftest import Stage
from tests.acceptance.front import Gateways, Rows, Verdict, behind, judge, project_url, rows
from tests.acceptance.javascript_followers import Followers, Tokens
from tests.acceptance.node import (
    JAVASCRIPT,
    Runtime,
    newest_node,
    node_with_ws,
    running_node,
)
from tests.acceptance.programs import client_of
from tests.acceptance.served import disconnect, served
from tests.chaos.link import Link
from tests.gateway_fixture import token_for

FOLLOWER = JAVASCRIPT / "follower.mjs"
CROWD = 30
# What fails again and again within five seconds is waited for longer and longer.
SHORT_DELAYS = {"min": 100, "max": 1_000}

# A fault strikes several times: twenty reconnects of each client in all.
LONG = ["cut", "kill", "cut", "forget", "cut twice", "drain"] * 3 + ["disconnect", "cut"]
SHORT = ["cut", "drain", "forget", "kill", "cut twice"]

TROUBLES = {"token_expired", "token_failed"}
RUNTIMES = {"node with ws": (node_with_ws, LONG), "newest node": (newest_node, SHORT)}


@dataclass
class Ordeal:
    """What is done to the clients, one thing after the other."""

    followers: Followers
    gateways: Gateways
    written: Rows

    @property
    def link(self) -> Link:
        return self.gateways.links[0]

    async def strike(self, fault: str) -> None:
        """Let something fail, and wait until all clients that it struck go on."""
        faults: dict[str, Callable[[], Awaitable[None]]] = {
            "cut": self.cut,
            "cut twice": self.cut_twice,
            "kill": lambda: self.gateways.fail(signal.SIGKILL),
            "drain": lambda: self.gateways.fail(signal.SIGTERM),
            "forget": self.forget,
            "disconnect": self.disconnect,
        }
        before = self.followers.opened("steady")
        await faults[fault]()
        await self.followers.program.does(lambda: self.followers.opened("steady") > before)
        await self.followers.pass_(self.written.committed[-1])

    async def cut(self) -> None:
        self.link.cut()

    async def cut_twice(self) -> None:
        """The second time while the client asks for what it missed."""
        before = self.followers.opened("steady")
        self.link.cut()
        await self.followers.program.does(lambda: self.followers.opened("steady") > before)
        self.link.cut()

    async def forget(self) -> None:
        """All bytes are swallowed and nobody is told, until the client looks, since the network is back."""
        self.link.forget()
        await self.written.more(20)
        self.followers.wake("steady", "expiring", "renewing")

    async def disconnect(self) -> None:
        """An administrator sends all of a user's connections away, and lets them come back."""
        await disconnect(self.gateways.served.urls[self.gateways.active], user_id="alice", reconnect=True)


def impatient(data: bytes) -> bytes:
    """The server's greeting with a shorter heartbeat, so that silence is noticed within the test."""
    return data.replace(b'"heartbeat_seconds":25', b'"heartbeat_seconds": 1')


@pytest.mark.parametrize("kind", RUNTIMES)
async def test_nothing_is_lost_or_doubled_whatever_fails(messages: Stage, kind: str) -> None:
    find, faults = RUNTIMES[kind]
    runtime = find()
    messages.write(drain_seconds=1)
    tokens = Tokens({"expiring": 2, "renewing": 20}, troubled=frozenset({"expiring"}))
    async with (
        served(messages, nodes=2) as service,
        behind(
            messages, service, Link("front", service.ports[0]), Link("silent", service.ports[0], impatient)
        ) as gateways,
    ):
        front, silent = gateways.links
        urls = dict.fromkeys(("steady", "expiring", "renewing"), project_url(front)) | {
            "silent": project_url(silent)
        }
        program_of = running_node(
            runtime,
            FOLLOWER,
            messages.directory,
            followers={who: {"url": url, "backoff": SHORT_DELAYS} for who, url in urls.items()},
        )
        async with program_of as program:
            tokens.program, program.answer = program, tokens.answer
            followers = Followers(program, list(urls))
            for who in urls:
                await followers.subscribed(who, 1)
            async with rows(messages) as written:
                await written.more(5)
                silent.forget()
                ordeal = Ordeal(Followers(program, ["steady", "renewing"]), gateways, written)
                for fault in faults:
                    await ordeal.strike(fault)
                await program.does(lambda: followers.reasons("silent")["no_answer"])
                await program.does(lambda: set(followers.reasons("expiring")) >= TROUBLES)
                await program.does(lambda: {"first", "expiring", "rejected"} == set(tokens.asked["expiring"]))
            await followers.reach(written.committed[-1])
            # Node's own WebSocket waits for the other side, and its process with it.
            for link in gateways.links:
                link.cut()
    report(runtime, followers, written)
    for who in urls:
        assert judge(written.committed, followers.heard(who)) == Verdict(), who
        assert followers.events_of(who, "reported") == [], who
        expect_no_attempt_before_its_time(followers, who)
    assert followers.opened("steady") > len(faults)
    assert {"connection_lost", "draining", "no_answer"} <= set(followers.reasons("steady"))
    assert not TROUBLES & set(followers.reasons("renewing"))
    assert set(tokens.asked["steady"]) == {"first"}
    assert set(tokens.asked["renewing"]) == {"first", "expiring"}


def expect_no_attempt_before_its_time(followers: Followers, who: str) -> None:
    """An attempt comes when the status said that it would; what wakes a client moves that time, too."""
    due = 0.0
    for one in followers.events_of(who, "status", "attempt"):
        if one["kind"] == "attempt":
            # Timers of Node may be a millisecond early.
            assert one["at"] >= due - 2, (who, one, due)
        elif one["value"]["state"] == "waiting":
            due = one["value"]["retryAt"]


def report(runtime: Runtime, followers: Followers, written: Rows) -> None:
    print(f"\n{runtime.program}: {len(written.committed)} rows")  # noqa: T201
    for who in followers.names:
        delays = [round(one["value"]["retryAt"] - one["at"]) for one in followers.statuses(who, "waiting")]
        reasons = dict(followers.reasons(who))
        print(f"  {who}: {followers.opened(who) - 1} reconnects; {reasons}; delays in ms: {delays}")  # noqa: T201


async def test_clients_that_are_cut_at_once_come_back_one_by_one(messages: Stage) -> None:
    """Thirty clients: each waits a time of its own, and after a drain as long as the gateway asked."""
    runtime = node_with_ws()
    messages.write(drain_seconds=3)
    tokens = Tokens()
    async with (
        served(messages, nodes=2) as service,
        behind(messages, service, Link("front", service.ports[0])) as gateways,
    ):
        names = [f"client {number}" for number in range(CROWD)]
        crowd = {who: {"url": project_url(gateways.links[0])} for who in names}
        async with running_node(runtime, FOLLOWER, messages.directory, followers=crowd) as program:
            tokens.program, program.answer = program, tokens.answer
            followers = Followers(program, names)
            for who in names:
                await followers.subscribed(who, 1)
            gateways.links[0].cut()
            for who in names:
                await followers.subscribed(who, 2)
            await gateways.fail(signal.SIGTERM)
            for who in names:
                await followers.subscribed(who, 3)
    cuts, drains = [], []
    for who in names:
        expect_no_attempt_before_its_time(followers, who)
        cut, drain = followers.statuses(who, "waiting")
        (asked,) = followers.events_of(who, "reconnect")
        cuts.append(cut["value"]["retryAt"] - cut["at"])
        drains.append(drain["value"]["retryAt"] - asked["at"])
        assert drain["value"]["reason"] == "draining"
        # The client's clock is read a little before ours.
        assert drains[-1] >= asked["value"]["after_ms"] - 2
    for name, delays in (("cut", cuts), ("drained", drains)):
        print(f"\n{CROWD} clients {name}, delays in ms: {sorted(map(round, delays))}")  # noqa: T201
        assert len(set(delays)) == CROWD, "some come back together"
    assert max(cuts) <= 500


async def test_a_gap_is_told_where_history_does_not_reach_back(messages: Stage) -> None:
    runtime = node_with_ws()
    messages.write("history_entries = 100")
    tokens = Tokens()
    async with (
        served(messages) as service,
        behind(messages, service, Link("front", service.ports[0])) as gateways,
    ):
        (link,) = gateways.links
        only = {"steady": {"url": project_url(link)}}
        async with running_node(runtime, FOLLOWER, messages.directory, followers=only) as program:
            tokens.program, program.answer = program, tokens.answer
            followers = Followers(program, ["steady"])
            await followers.subscribed("steady", 1)
            async with rows(messages) as written:
                await written.more(5)
                await followers.pass_(written.committed[-1])
                async with client_of(service.url, token_for()) as witness:
                    await witness.subscribe("table:messages:INSERT")
                    link.target, port = 1, link.target  # nobody listens there
                    link.cut()
                    # History goes by what was published together.
                    for _ in range(4):
                        await written.insert(200)
                        last = written.committed[-1]
                        while (await witness.hear())["data"]["id"] != last:
                            pass
                link.target = port
                await followers.subscribed("steady", 2)
                await written.more(5)
            await followers.reach(written.committed[-1])
    assert [one["value"] for one in followers.events_of("steady", "gap")] == ["history"]
    verdict = judge(written.committed, followers.heard("steady"))
    assert verdict == Verdict(gaps=1), json.dumps(followers.heard("steady"))
    assert len(followers.heard("steady")) < len(written.committed)


def test_the_referee_sees_what_is_lost_twice_or_out_of_order() -> None:
    committed = [1, 2, 3, 4]
    assert judge(committed, [1, 2, 3, 4]) == Verdict()
    assert judge(committed, [1, 3, 4]) == Verdict(lost=[2])
    assert judge(committed, [1, 2, 3]) == Verdict(lost=[4])
    assert judge(committed, [1, 2, 2, 3, 4]) == Verdict(twice=[2])
    assert judge(committed, [1, 3, 2, 4]) == Verdict(lost=[2], out_of_order=[2])
    assert judge(committed, [1, None, 4]) == Verdict(gaps=1)
    assert judge(committed, [1, None, 2, 4]) == Verdict(gaps=1, lost=[3])

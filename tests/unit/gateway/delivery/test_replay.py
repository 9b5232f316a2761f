"""What a newcomer to a presence channel is told before it hears it live, while others come, change and go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import pytest

from gateway.delivery.replay import Joining, RosterReplay
from gateway.hub.replay_cache import SLICE_BYTES
from gateway.hub.roster import Roster
from gateway.hub.subscribers import subscription
from realtime.channels import parse_channel
from tests.hub_fixture import NATIVE, payloads

CHANNEL = parse_channel("presence:room:a")
PAD = "x" * 4_000
PRESENT = 450  # 1.8 MB


def entry(name: str, version: int) -> bytes:
    return json.dumps({"connection_id": name, "state": {"pad": PAD, "version": version}}).encode()


class Newcomer:
    """A client that knows what it was told."""

    connection_id = "newcomer"

    def __init__(self, roster: Roster) -> None:
        self.there: dict[str, int] = {}
        self.sent_bytes = 0
        self.messages = 0
        self.largest = 0  # sent in one step
        self.lists = 0  # whole ones
        self._coming: dict[str, int] = {}
        self.replay = RosterReplay(
            Joining(
                subscription(cast(Any, self), CHANNEL, "newcomer", NATIVE), cast(Any, None), cast(Any, None)
            ),
            roster,
        )

    def send(self, frames: list[bytes]) -> None:
        self.largest = max(self.largest, sum(map(len, frames)))
        for frame in frames:
            self.sent_bytes += len(frame)
            self._hear(*payloads(frame))

    def _hear(self, message: dict[str, Any]) -> None:
        told = {one["connection_id"]: one["state"]["version"] for one in message["presences"]}
        if message["event"] == "sync":
            self._coming |= told
            if not message["more"]:
                self.there, self._coming = self._coming, {}
                self.lists += 1
            return
        assert not self._coming
        for name, version in told.items():
            assert (name in self.there) is (message["event"] != "join")
            if message["event"] == "leave":
                del self.there[name]
            else:
                self.there[name] = version


class Play:
    def __init__(self, present: int = PRESENT) -> None:
        self.roster = Roster("presence:room:a")
        self.truth: dict[str, int] = {}
        self.change({f"c{number:03}": 0 for number in range(present)})
        self.newcomer = Newcomer(self.roster)

    def change(self, changes: Mapping[str, int | None]) -> None:
        for name, version in changes.items():
            if version is None:
                self.roster.apply([b"Ln-0/%b " % name.encode()])
                del self.truth[name]
            else:
                kind = b"U" if name in self.truth else b"J"
                self.roster.apply([kind + b"n-0/%b " % name.encode() + entry(name, version)])
                self.truth[name] = version
        self.roster.news()

    @property
    def replay(self) -> RosterReplay:
        return self.newcomer.replay


@pytest.mark.parametrize("changing", [8, 100, 300])
def test_a_newcomer_goes_live_though_others_change_all_the_time(changing):
    """Whoever waits for a moment in which little has changed may wait for ever."""
    play = Play()
    size, steps = play.roster.attendance().size, 1
    while not play.replay.step():
        play.change({f"c{number:03}": steps for number in range(changing)})
        steps += 1
        assert steps < 300
    assert play.newcomer.there == play.truth
    assert play.newcomer.sent_bytes < (2.5 if changing <= 100 else 8) * size
    assert play.newcomer.largest < SLICE_BYTES + (changing + 20) * len(PAD)


def test_a_newcomer_goes_live_while_others_come_change_and_go():
    play = Play()
    size, steps = play.roster.attendance().size, 1
    while not play.replay.step():
        play.change({f"c{(7 * steps + number) % 400:03}": steps for number in range(8)} | {f"d{steps:03}": 0})
        if steps > 3:
            play.change({f"d{steps - 3:03}": None})
        steps += 1
        assert steps < 300
    assert play.newcomer.there == play.truth
    assert play.newcomer.sent_bytes < 3 * size
    assert play.newcomer.lists == 1


def test_where_all_has_changed_a_newcomer_gets_another_list():
    play = Play()
    play.replay.step()
    play.change(dict.fromkeys(play.truth, 1))
    while not play.replay.step():
        pass
    assert play.newcomer.there == play.truth
    assert play.newcomer.lists == 2


def test_where_all_are_gone_a_newcomer_is_told_so():
    play = Play()
    play.replay.step()
    play.change(dict.fromkeys(list(play.truth)))
    while not play.replay.step():
        pass
    assert play.newcomer.there == {}


@pytest.mark.parametrize("present", [0, 1])
def test_a_short_list_is_one_step(present):
    play = Play(present)
    assert play.replay.step()
    assert (play.newcomer.there, play.newcomer.lists) == (play.truth, 1)


def test_what_is_left_to_be_told_is_known_at_each_step():
    play = Play()
    assert play.replay.pending_bytes == play.roster.attendance().size
    while play.replay.pending_bytes:
        play.replay.step()
    play.change(dict.fromkeys(list(play.truth)[:200], 1))  # while the last slice is on its way
    assert not play.replay.step()
    assert play.replay.pending_bytes > 199 * len(PAD)
    assert play.replay.held_bytes >= 8 * (PRESENT + 200)
    while not play.replay.step():
        pass
    assert play.replay.pending_bytes == 0

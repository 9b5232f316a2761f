"""How much a client may say and how many may come, by a clock of the test's own."""

from __future__ import annotations

import itertools
import math

import pytest

from gateway.projects.token_bucket import BURST_SECONDS, Bucket
from gateway.session.effects import Close, Effect, Say
from gateway.session.flood_guard import FEWEST_FRAMES, FRAGMENTS_AS_ONE, FloodGuard, Verdict
from gateway.session.session import Session, SessionRules
from gateway.session.timings import SessionTimings
from gateway.websocket.pace import PACE, SLOWEST_PACE, Pace
from gateway.wire.commands import ClientCommand, Ping
from gateway.wire.events import Pong, Refused
from gateway.wire.native import NativeCodec
from realtime.auth.tokens import Identity
from realtime.errors import CLOSE_CODE, Code
from realtime.settings.config import Limits

NOW = 1_700_000_000.0
ALICE = Identity(user_id="alice", role="authenticated", expires_at=NOW + 3_600, claims={})


def taken(bucket: Bucket, tries: int, now: float) -> int:
    return sum(bucket.take(now) for _ in range(tries))


def flood(guard: FloodGuard, seconds: float, per_second: int = 100, start: float = NOW) -> list[Verdict]:
    """The verdicts over an even stream of messages, up to the one that closes."""
    verdicts = []
    for number in range(round(seconds * per_second)):
        verdicts.append(guard.judge(start + number / per_second))
        if verdicts[-1] is Verdict.CLOSE:
            break
    return verdicts


# The bucket


def test_a_bucket_gives_its_burst_at_once_and_then_nothing():
    assert taken(Bucket(10, 20, NOW), 50, NOW) == 20


def test_a_bucket_fills_at_its_rate():
    bucket = Bucket(10, 20, NOW)
    taken(bucket, 20, NOW)
    assert taken(bucket, 50, NOW + 0.5) == 5
    assert taken(bucket, 50, NOW + 1.5) == 10


def test_a_bucket_never_holds_more_than_its_burst():
    assert taken(Bucket(10, 20, NOW), 50, NOW + 3_600) == 20


def test_a_bucket_gives_less_than_one_a_second_too():
    bucket = Bucket(0.1, 1, NOW)
    assert taken(bucket, 5, NOW) == 1
    assert taken(bucket, 5, NOW + 9.9) == 0
    assert taken(bucket, 5, NOW + 10) == 1


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing():
    bucket = Bucket(10, 20, NOW)
    taken(bucket, 15, NOW)
    assert taken(bucket, 50, NOW - 60) == 5


def test_a_bucket_without_a_limit_never_runs_dry():
    bucket = Bucket(math.inf, math.inf, NOW)
    assert taken(bucket, 1_000, NOW) == 1_000
    assert taken(bucket, 1_000, NOW + 1) == 1_000


# The guard


@pytest.mark.parametrize("rate", [1, 5, 100])
def test_two_seconds_worth_of_messages_may_come_at_once(rate):
    guard = FloodGuard(rate, NOW)
    assert [guard.judge(NOW) for _ in range(2 * rate)] == [Verdict.PASS] * 2 * rate
    assert guard.judge(NOW) is Verdict.WARN


def test_a_client_at_its_rate_goes_on_for_ever():
    assert set(flood(FloodGuard(100, NOW), seconds=120)) == {Verdict.PASS}


def test_one_message_always_passes_however_low_the_rate():
    guard = FloodGuard(0.1, NOW)
    assert [guard.judge(NOW), guard.judge(NOW)] == [Verdict.PASS, Verdict.WARN]
    assert guard.judge(NOW + 10) is Verdict.PASS


def test_a_flood_is_told_once_a_second():
    guard = FloodGuard(1, NOW)
    verdicts = flood(guard, seconds=5)
    warned_at = [number for number, verdict in enumerate(verdicts) if verdict is Verdict.WARN]
    assert [later - earlier for earlier, later in itertools.pairwise(warned_at)] == [100] * 4


def test_a_flood_is_told_as_often_as_the_timings_say():
    guard = FloodGuard(1, NOW, SessionTimings(warning_seconds=0.5))
    verdicts = flood(guard, seconds=4)
    warned_at = [number for number, verdict in enumerate(verdicts) if verdict is Verdict.WARN]
    assert {later - earlier for earlier, later in itertools.pairwise(warned_at)} == {50}


def test_a_flood_is_closed_after_ten_errors_in_a_row():
    verdicts = flood(FloodGuard(10, NOW), seconds=60)
    assert verdicts.count(Verdict.WARN) == 10
    assert verdicts[-1] is Verdict.CLOSE
    assert len(verdicts) < 15 * 100


def test_what_the_rate_allows_passes_also_in_a_flood():
    verdicts = flood(FloodGuard(10, NOW), seconds=5)
    assert verdicts.count(Verdict.PASS) == 20 + 5 * 10 - 1


def test_a_flood_of_half_a_message_too_many_a_second_is_closed_too():
    guard, verdicts, now = FloodGuard(1, NOW), [], NOW
    while Verdict.CLOSE not in verdicts and now < NOW + 120:
        verdicts.append(guard.judge(now))
        now += 0.66
    assert verdicts[-1] is Verdict.CLOSE


def test_a_pause_makes_the_count_begin_anew():
    guard, start = FloodGuard(1, NOW), NOW
    for _ in range(3):
        verdicts = flood(guard, seconds=8, start=start)
        assert Verdict.CLOSE not in verdicts
        assert verdicts.count(Verdict.WARN) >= 7
        start += 8 + 60


def test_bursts_with_a_rest_between_them_are_told_but_never_closed():
    guard = FloodGuard(10, NOW)
    for number in range(50):
        burst = [guard.judge(NOW + 3 * number) for _ in range(30)]
        assert burst.count(Verdict.WARN) == 1
        assert Verdict.CLOSE not in burst


# Frames that are no messages


def test_other_frames_have_as_much_as_messages_and_take_nothing_from_them():
    guard = FloodGuard(100, NOW)
    assert guard.judge_frames(200, NOW) is Verdict.PASS
    assert [guard.judge(NOW) for _ in range(200)] == [Verdict.PASS] * 200
    assert guard.judge_frames(1, NOW) is Verdict.WARN
    assert guard.judge_frames(100, NOW + 1) is Verdict.PASS


@pytest.mark.parametrize("rate", [0.01, 1, 5])
def test_however_few_messages_a_client_may_send_it_may_answer_pings(rate):
    guard = FloodGuard(rate, NOW)
    assert guard.judge_frames(BURST_SECONDS * FEWEST_FRAMES, NOW) is Verdict.PASS
    assert {guard.judge_frames(1, NOW + 1 + number / FEWEST_FRAMES) for number in range(500)} == {
        Verdict.PASS
    }


def test_messages_and_other_frames_are_told_of_together_once_a_second():
    guard, verdicts, now = FloodGuard(1, NOW), [], NOW
    while Verdict.CLOSE not in verdicts:
        verdicts += [guard.judge(now), guard.judge_frames(10, now)]
        now += 0.1
    assert verdicts.count(Verdict.WARN) == 10
    assert NOW + 9 < now < NOW + 13


def test_a_flood_of_fragments_alone_is_closed_at_the_pace_at_which_it_is_read():
    session, now = new_session(100), NOW
    effects: list[Effect] = []
    while not any(isinstance(effect, Close) for effect in effects):
        assert now < NOW + 20
        effects += session.received_frames(0, round(SLOWEST_PACE / 20), now)
        now += 0.05
    assert len(effects) == 11


@pytest.mark.parametrize(("controls", "fragments"), [(1, 0), (0, 64), (1, 4 * FRAGMENTS_AS_ONE)])
def test_a_client_that_pings_each_second_and_cuts_its_messages_is_never_told_anything(controls, fragments):
    session = new_session(100)
    for second in range(600):
        assert session.received_frames(controls, fragments, NOW + second) == []


# The pace of reading


def read(pace: Pace, frames: int, size: int, seconds: float) -> int:
    """How many portions of so many frames and bytes are read, by who waits as long as it is told."""
    now, count = NOW, 0
    while now < NOW + seconds:
        if wait := pace.seconds_to_wait(now):
            now += wait
        else:
            pace.spend(frames, size)
            count += 1
    return count


@pytest.mark.parametrize("rate", [0.01, 100, 1_000])
def test_small_frames_are_read_at_ten_times_the_rate_and_not_faster(rate):
    pace = max(SLOWEST_PACE, PACE * rate)
    assert abs(32 * read(Pace.of_client(rate, 65_536, NOW), 32, 0, seconds=10) - 12 * pace) <= 64


def test_the_largest_messages_are_read_at_their_rate_and_not_at_three_times():
    count = read(Pace.of_client(100, 65_536, NOW), 1, 65_536, seconds=10)
    assert 10 * 100 + 200 <= count < 3 * 10 * 100


def test_a_client_at_its_rate_never_waits():
    pace = Pace.of_client(100, 65_536, NOW)
    for number in range(10_000):
        assert pace.seconds_to_wait(NOW + number / 100) == 0
        pace.spend(2, 65_536)


def test_without_a_limit_nobody_waits():
    pace = Pace.of_client(math.inf, 65_536, NOW)
    for _ in range(1_000):
        assert pace.seconds_to_wait(NOW) == 0
        pace.spend(32, 65_536)


def test_a_clock_that_goes_back_makes_nobody_wait_longer():
    pace = Pace.of_client(100, 65_536, NOW)
    pace.spend(2_000, 0)
    assert pace.seconds_to_wait(NOW - 60) == pace.seconds_to_wait(NOW - 61) == pytest.approx(0.032)


# The session


def new_session(rate: float) -> Session:
    return Session("demo", "c-1", ALICE, SessionRules(Limits(messages_per_second=rate)), NOW)


def said(session: Session, command: ClientCommand, now: float) -> list[Effect]:
    """What comes of a command, as the connection asks."""
    instead = session.throttled(now)
    return session.received(command, now) if instead is None else list(instead)


def test_a_session_answers_its_rate_says_so_once_and_drops_the_rest():
    session = new_session(5)
    effects = [effect for _ in range(100) for effect in said(session, Ping(), NOW)]
    pongs, [refused] = effects[:10], effects[10:]
    assert all(isinstance(effect, Say) and isinstance(effect.event, Pong) for effect in pongs)
    assert isinstance(refused, Say)
    assert isinstance(refused.event, Refused)
    assert refused.event.code is Code.RATE_LIMITED


def test_messages_that_mean_nothing_count_like_all_others():
    session = new_session(5)
    effects = [
        effect
        for text in ["{", "[]", '{"type":"x"}'] * 10
        for effect in said(session, NativeCodec().decode(text), NOW)
    ]
    codes = [one.event.code for one in effects if isinstance(one, Say) and isinstance(one.event, Refused)]
    assert len(effects) == len(codes) == 11
    assert codes[-1] is Code.RATE_LIMITED


def test_a_session_that_does_not_stop_is_closed_with_the_error():
    session, now = new_session(5), NOW
    effects: list[Effect] = []
    while not any(isinstance(effect, Close) for effect in effects):
        assert now < NOW + 20
        effects += said(session, Ping(), now)
        now += 0.01
    last = effects[-1]
    assert isinstance(last, Close)
    assert (last.refusal.code, last.code) == (Code.RATE_LIMITED, CLOSE_CODE[Code.RATE_LIMITED])
    told = [one for one in effects if isinstance(one, Say) and isinstance(one.event, Refused)]
    assert len(told) == 10

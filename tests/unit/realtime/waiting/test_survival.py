"""A part goes on after what nobody foresaw, counts it each time, and logs it once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from realtime.errors import ClientError, Code, StatementFailed, Unavailable
from realtime.waiting import survival
from realtime.waiting.survival import LOG_AGAIN_SECONDS, MOST_KINDS, Part, forget_faults
from tests.clean_log import logged
from tests.expressions import value

COUNT = "realtime_unforeseen_faults_total"


class Clock:
    """A clock that a test sets forward."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def part(clock: Clock) -> Iterator[Part]:
    part = Part("test", clock)
    yield part
    survival._parts.remove(part)


def fail(_: int = 0) -> None:
    raise KeyError("nobody thought of it")


def test_what_an_item_raises_is_counted_each_time_and_logged_once(part, caplog):
    before = value(COUNT, part="test")
    for number in range(3):
        with part.survives(item=str(number)):
            fail()
    assert value(COUNT, part="test") == before + 3
    (facts,) = logged(caplog, "part_failed")
    assert (facts["part"], facts["item"], facts["times"]) == ("test", "0", 1)
    assert "nobody thought of it" in facts["exception"]


def test_another_fault_of_the_same_part_is_logged_too(part, caplog):
    with part.survives():
        fail()
    with part.survives():
        raise KeyError("raised elsewhere")
    with part.survives():
        raise ExceptionGroup("several", [ValueError("of a task")])
    assert len(logged(caplog, "part_failed")) == 3


def translate(cause: Exception) -> None:
    try:
        raise cause
    except Exception as error:
        raise StatementFailed(str(error)) from error


def test_the_causes_behind_one_translation_are_told_apart(part, caplog):
    for cause in (KeyError("no right"), ValueError("no relation"), KeyError("no right, again")):
        with part.survives():
            translate(cause)
    told = [facts["exception"] for facts in logged(caplog, "part_failed")]
    assert ["no right" in told[0], "no relation" in told[1], len(told)] == [True, True, 2]


def test_an_error_that_is_its_own_cause_ends_nothing(part, caplog):
    with part.survives():
        error = KeyError("odd")
        raise error from error
    assert len(logged(caplog, "part_failed")) == 1


def test_a_fault_that_goes_on_is_logged_again_after_a_while_with_how_often_it_happened(part, caplog, clock):
    for number in range(5):
        if number == 4:
            clock.seconds += LOG_AGAIN_SECONDS
        with part.survives():
            fail()
    assert [facts["times"] for facts in logged(caplog, "part_failed")] == [1, 4]


def test_a_part_remembers_so_many_kinds_of_faults_at_most(part):
    for number in range(MOST_KINDS + 7):
        with part.survives():
            raise type(f"Kind{number}", (Exception,), {})
    assert len(part._logged) == MOST_KINDS


def test_a_fault_that_was_forgotten_is_logged_again(part, caplog):
    for _ in range(2):
        with part.survives():
            fail()
        forget_faults()
    assert len(logged(caplog, "part_failed")) == 2


@pytest.mark.parametrize("end", [asyncio.CancelledError, SystemExit, KeyboardInterrupt])
def test_the_end_of_a_task_or_of_the_process_is_not_survived(part, end):
    with pytest.raises(end), part.survives():
        raise end


def test_memory_that_ran_out_is_survived_since_the_item_that_took_it_is_let_go(part):
    """The error does not leave the block."""
    with part.survives():
        raise MemoryError


def test_a_client_is_told_internal_of_what_nobody_foresaw_and_else_what_it_is(part):
    with pytest.raises(ClientError) as refusal, part.raises_internal():
        fail()
    assert refusal.value.code is Code.INTERNAL
    with pytest.raises(Unavailable), part.raises_internal():
        raise Unavailable("Redis is away")


async def test_work_without_an_end_begins_anew_after_each_fault(part):
    began = 0

    async def work() -> None:
        nonlocal began
        began += 1
        if began < 4:
            fail()

    await part.keep_running(work, first_retry_seconds=0)
    assert began == 4

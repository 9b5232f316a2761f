"""A fault: its description, the parts that it concerns, and the code that starts it, waits and ends it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from tests.chaos.stage import Stage

REDIS, POSTGRES = "redis", "postgres"  # parts; others are named after the process or the link


@dataclass(frozen=True)
class Fault:
    """A failure that is caused on purpose; two faults may overlap if they concern different parts."""

    words: str
    parts: frozenset[str]
    carry_out: Callable[[], Awaitable[None]]


Draw = Callable[[Stage, Random], Fault]


def fault_of(part: str, words: str, carry_out: Callable[[], Awaitable[None]]) -> Fault:
    """Return a fault that concerns one part."""
    return Fault(words, frozenset({part}), carry_out)

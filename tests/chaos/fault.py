"""What a fault is: words, the parts that it is about, and what strikes, lasts and heals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from tests.chaos.stage import Stage

REDIS, POSTGRES = "redis", "postgres"  # parts; others are named after the process or the link


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong; two may overlap if they are about different parts."""

    words: str
    parts: frozenset[str]
    carry_out: Callable[[], Awaitable[None]]


Draw = Callable[[Stage, Random], Fault]


def fault_of(part: str, words: str, carry_out: Callable[[], Awaitable[None]]) -> Fault:
    """One that is about a single part."""
    return Fault(words, frozenset({part}), carry_out)

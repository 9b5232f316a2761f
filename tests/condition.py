"""What a test waits for, as the helpers that wait are given it."""

from __future__ import annotations

from typing import Protocol


class Condition(Protocol):
    """True at last, or an awaitable of that; in a loop `lambda node=node: ...` is one, too."""

    def __call__(self) -> object: ...

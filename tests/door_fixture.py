"""A door of the gateway between a transport and a reader that tell what they were told."""

from __future__ import annotations

import math
import time

from gateway.websocket.intake import REFUSED, FrameIntake
from gateway.websocket.pace import Pace
from gateway.websocket.turns import Turns


class Transport:
    """Knows whether it is read."""

    def __init__(self) -> None:
        self.is_read = True

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


class Reader:
    """Keeps what it gets; refuses what aiohttp refuses in the same way."""

    def __init__(self) -> None:
        self.heard = b""
        self.slices: list[int] = []
        self.is_at_end = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.heard += data
        self.slices.append(len(data))
        return data == REFUSED, b""

    def feed_eof(self) -> None:
        self.is_at_end = True


class Play:
    """A door between a transport and a reader, with a clock that never slows anybody down."""

    def __init__(self, early: bytes = b"", rate: float = math.inf, turns: Turns | None = None) -> None:
        self.transport, self.reader = Transport(), Reader()
        self.counted = [0, 0]
        pace = Pace.of_client(rate, 65_536, time.monotonic())
        self.door = FrameIntake(self.reader, self.transport, pace, early, turns or Turns())  # type: ignore[arg-type]

    def open(self) -> Play:
        self.door.open(self.count)
        return self

    def count(self, controls: int, fragments: int) -> None:
        self.counted[0] += controls
        self.counted[1] += fragments

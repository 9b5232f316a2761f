"""How long deliveries are gathered before they are written, so that a busy node writes less often.

A write to a socket costs about as much for one message as for ten. While a node takes longer to write a
message to all its subscribers than the messages are apart, more messages leave in one write if it waits.
A lone message never waits. Pure: time comes in as an argument.
"""

from __future__ import annotations

from math import inf


class Gathering:
    """Decides from the last write of all queues whether the next one waits."""

    def __init__(self, most_seconds: float) -> None:
        self._most_seconds = most_seconds  # 0: deliveries are never gathered
        self._began_at = -inf  # when the last write began
        self._took_seconds = 0.0  # the turn of the loop that it was a part of

    def __repr__(self) -> str:
        return f"<Gathering {self._most_seconds} s at most, the last write took {self._took_seconds:.6f} s>"

    def wrote(self, began_at: float, ended_at: float) -> None:
        """Note the turn of the loop that wrote the queues."""
        self._began_at, self._took_seconds = began_at, ended_at - began_at

    def seconds(self, pieces: int, queues: int, now: float) -> float:
        """Return how long to wait; so many pieces came for these queues since the last write began."""
        if pieces <= queues:  # a lone message for each
            return 0.0
        apart = (now - self._began_at) * queues / pieces
        return min(self._took_seconds, self._most_seconds) if apart < self._took_seconds else 0.0

"""Pieces that many send queues get, one after the other: a reference to one batch in each, and no copy.

The fan-out adds to a batch while it is open, so that only the first piece costs something for each queue. A
queue seals its batch before it writes or queues anything else; what follows is in another batch. Pure.
"""

from __future__ import annotations

from functools import cached_property


class Batch:
    """Pieces for the queues that hold it."""

    def __init__(self, pieces: list[bytes], size: int) -> None:
        self.pieces = [*pieces]
        self.size = size  # bytes of all pieces
        self.is_open = True  # all its queues have nothing behind it

    def __repr__(self) -> str:
        return f"<Batch of {len(self.pieces)} pieces, {'open' if self.is_open else 'sealed'}>"

    def add(self, pieces: list[bytes], size: int) -> None:
        """Add pieces for all queues that hold the batch, which is open."""
        assert self.is_open, "a queue may have gone on without it"
        self.pieces += pieces
        self.size += size

    @cached_property
    def joined(self) -> bytes:
        """All pieces of a sealed batch as one, which its queues share."""
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)

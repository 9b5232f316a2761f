"""How many frames of each client are let in before others get their turn: fewer if many wait. Pure."""

from __future__ import annotations

SLICE_FRAMES = 32  # of one client, at most
TURN_FRAMES = 512  # of all waiting clients together, though each gets at least one


class Turns:
    """What the intakes of a node share."""

    def __init__(self) -> None:
        self.waiting = 0  # clients that sent more than was let in

    def __repr__(self) -> str:
        return f"<Turns of {self.slice_frames} frames, {self.waiting} clients wait>"

    @property
    def slice_frames(self) -> int:
        """How many frames of one client may be let in and not taken yet."""
        return max(1, min(SLICE_FRAMES, TURN_FRAMES // max(1, self.waiting)))

"""Checks the headers of a client's frames by RFC 6455: bytes come in, counts of frames come out.

The intake walks over all bytes of a client before aiohttp's reader gets them. aiohttp refuses reserved bits,
opcodes, sizes and text; this module refuses what aiohttp lets pass, and says what each frame counts as.
"""

from __future__ import annotations

CONTINUATION, CLOSE = 0x0, 0x8  # opcodes; those from CLOSE on belong to control frames
LAST, MASKED = 0x80, 0x80  # bits of the first and of the second byte
MASK_BYTES = 4
LONGEST_HEADER_BYTES = 10  # without the mask
FRAGMENT_BYTES = 1_024  # fragments of at least this size are bounded by the size limit of a message

MESSAGE, CONTROL, FRAGMENT, LARGE_FRAGMENT = range(4)  # what a frame counts as


class FrameWalk:
    """Walks from header to header, however the network split the bytes; payloads are not read or copied."""

    __slots__ = ("_counts", "_in_message", "_kind", "_left", "message_bytes", "violation")

    def __init__(self) -> None:
        self._left = 0  # bytes of the current frame that are still to come, including the mask
        self._kind = MESSAGE  # of the current frame
        self._in_message = False  # a message has begun and its last frame has not
        self.message_bytes = 0  # received of the message that has not ended, including masks
        # Frames of each kind that ended since the last `take_counts`; None: no frame did.
        self._counts: list[int] | None = None
        self.violation: str | None = None  # the rule that the client broke; the walk goes no further

    def __repr__(self) -> str:
        return f"<FrameWalk {self.violation or f'{self._left} bytes left of a frame'}>"

    @property
    def is_between_messages(self) -> bool:
        """Whether all bytes so far are whole frames, and no message lacks its last frame."""
        return not self._left and not self._in_message

    def walk(self, data: bytes, start: int, stop: int, frames: int) -> int:
        """Walk over at most `frames` frames of `data[start:stop]`; return where the walk ended.

        The walk ends before `stop` if the next header is incomplete or a violation.
        """
        at = start
        while frames > 0 and at < stop:
            if not self._left:
                size = self._begin_frame(data, at, stop)
                if not size:
                    break
                at += size
            step = min(self._left, stop - at)
            at += step
            self._left -= step
            if self._kind != CONTROL:
                self.message_bytes += step
            if not self._left:
                if self._kind == MESSAGE:
                    self.message_bytes = 0
                if self._counts is None:
                    self._counts = [0, 0, 0, 0]
                self._counts[self._kind] += 1
                frames -= 1
        return at

    def _begin_frame(self, data: bytes, at: int, stop: int) -> int:
        """Read the header that begins at `at`; return its size without the mask, or 0 to stop."""
        if stop - at < 2:
            return 0
        first, second = data[at], data[at + 1]
        length, size = second & 0x7F, 2
        if length > 125:
            size = 4 if length == 126 else LONGEST_HEADER_BYTES
            if stop - at < size:
                return 0
            shortest = 126 if length == 126 else 65_536
            length = int.from_bytes(data[at + 2 : at + size], "big")
            if length < shortest:
                return self._refuse("a length in more bytes than it needs")
        if not second & MASKED:
            return self._refuse("a frame without a mask")
        opcode = first & 0x0F
        if opcode >= CLOSE:
            self._kind = CONTROL
        elif (opcode == CONTINUATION) != self._in_message:
            return self._refuse("a fragment out of order")
        elif first & LAST:
            self._kind, self._in_message = MESSAGE, False
        else:
            self._kind = LARGE_FRAGMENT if length >= FRAGMENT_BYTES else FRAGMENT
            self._in_message = True
        self._left = MASK_BYTES + length
        return size

    def _refuse(self, violation: str) -> int:
        self.violation = violation
        return 0

    def take_counts(self) -> list[int]:
        """Return the frames that ended since the last call: messages, controls, small, large fragments."""
        counts, self._counts = self._counts, None
        return counts or [0, 0, 0, 0]


def may_close_with(code: int) -> bool:
    """Whether a client may put this code into a close frame (RFC 6455, section 7.4, and IANA's registry).

    1004, 1005, 1006 and 1015 never occur in a frame, 1016 to 2999 are not assigned, no code is above 4999.
    """
    return code in range(1000, 1004) or code in range(1007, 1015) or code in range(3000, 5000)

"""WebSocket frames of a server: they are not masked, so one frame serves every subscriber.

The lines chosen for subscribers of a channel are encoded into frames once; a send queue only writes frames.
Frames are joined into pieces of about PIECE_BYTES. A piece ends where a frame ends, so that other frames may
be written between two pieces.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

PIECE_BYTES = 65_536

PING = b"\x89\x00"

LineFrame = tuple[int, int, tuple[bytes, ...]]  # offset of a line, length of its frame, parts of its frame


def text_frame(payload: bytes) -> bytes:
    """Return one unfragmented text frame (RFC 6455, section 5.2)."""
    return header(len(payload)) + payload


def pong_frame(payload: bytes) -> bytes:
    """Return the pong to a ping with this payload of at most 125 bytes (RFC 6455, section 5.5.3)."""
    return bytes((0x8A, len(payload))) + payload


def close_frame(code: int) -> bytes:
    """Return a close frame with a code and no reason (RFC 6455, section 5.5.1)."""
    return b"\x88\x02" + struct.pack("!H", code)


def header(length: int) -> bytes:
    """Return the header of an unfragmented text frame with a payload of this length."""
    if length < 126:
        return bytes((0x81, length))
    if length < 65_536:
        return struct.pack("!BBH", 0x81, 126, length)
    return struct.pack("!BBQ", 0x81, 127, length)


def joined_pieces(frames: Iterable[LineFrame]) -> list[bytes]:
    """Join the frames of lines into pieces, ready to write."""
    pieces: list[bytes] = []
    piece: list[bytes] = []
    size = 0
    for _, length, parts in frames:
        piece += parts
        size += length
        if size >= PIECE_BYTES:
            pieces.append(b"".join(piece))
            piece, size = [], 0
    if piece:
        pieces.append(b"".join(piece))
    return pieces

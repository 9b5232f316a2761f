"""WebSocket frames of a server: they are not masked, so one frame serves every subscriber.

The lines chosen for subscribers of a channel are encoded into frames once; a send queue only writes frames.
Frames are joined into pieces of about PIECE_BYTES. A piece ends where a frame ends, so that other frames may
be written between two pieces.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

import msgspec

from realtime.channels import Channel
from realtime.publications import NOT_TO_SENDER, Publication

PIECE_BYTES = 65_536

PING = b"\x89\x00"

LineFrame = tuple[int, int, tuple[bytes, ...]]  # offset of a line, length of its frame, parts of its frame


def text_frame(payload: bytes) -> bytes:
    """Return one unfragmented text frame (RFC 6455, section 5.2)."""
    return _header(len(payload)) + payload


def pong_frame(payload: bytes) -> bytes:
    """Return the pong to a ping with this payload of at most 125 bytes (RFC 6455, section 5.5.3)."""
    return bytes((0x8A, len(payload))) + payload


def close_frame(code: int) -> bytes:
    """Return a close frame with a code and no reason (RFC 6455, section 5.5.1)."""
    return b"\x88\x02" + struct.pack("!H", code)


def _header(length: int) -> bytes:
    if length < 126:
        return bytes((0x81, length))
    if length < 65_536:
        return struct.pack("!BBH", 0x81, 126, length)
    return struct.pack("!BBQ", 0x81, 127, length)


def count_frames(pieces: Iterable[bytes]) -> int:
    """Return the number of frames in these pieces."""
    count = 0
    for piece in pieces:
        start, end = 0, len(piece)
        while start < end:
            length = piece[start + 1]
            if length == 126:
                length = 2 + (piece[start + 2] << 8 | piece[start + 3])
            elif length == 127:
                length = 8 + int.from_bytes(piece[start + 2 : start + 10])
            start += 2 + length
            count += 1
    return count


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


def message_frames(channel: Channel, publication: Publication, numbers: Iterable[int]) -> Iterator[LineFrame]:
    """Yield these lines of a publication as message frames of a channel."""
    kind = b"realtime" if channel.table else b"broadcast"
    head = b'{"type":"' + kind + b'","channel":' + msgspec.json.encode(channel.name) + b","
    tail = b',"id":"' + publication.epoch.encode() + b"-"
    fixed = len(head) + len(tail) + len(b'"}')
    lines, first = publication.lines, publication.first
    for number in numbers:
        line = lines[number]
        body = line[1:] if line[:1] != NOT_TO_SENDER else line[line.index(b" ") + 1 :]
        offset = first + number
        digits = b"%d" % offset
        header = _header(fixed + len(body) + len(digits))
        length = len(header) + fixed + len(body) + len(digits)
        yield offset, length, (header, head, body, tail, digits, b'"}')

"""The interface of a wire protocol: a client's messages become commands, and events become frames.

`native` implements our own protocol; another protocol is one more file beside it. All code above this package
uses only commands and events.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Protocol

from gateway.wire.commands import ClientCommand
from gateway.wire.events import ServerEvent
from gateway.wire.frames import LineFrame
from realtime.channels import Channel
from realtime.publications import Publication


class Codec(Hashable, Protocol):
    """Reads and writes one wire protocol. A codec has no state: all clients of a protocol may share one."""

    def decode(self, text: str) -> ClientCommand:
        """Read one message of a client; an invalid message becomes Malformed. Never raises."""

    def encode(self, event: ServerEvent) -> bytes:
        """Encode one event as a whole frame, ready to send."""

    def encode_lines(
        self, channel: Channel, publication: Publication, numbers: Iterable[int]
    ) -> Iterator[LineFrame]:
        """Encode these lines of a publication as messages of a channel, one frame each."""

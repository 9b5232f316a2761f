"""The interface of a wire protocol: a client's messages become commands, and events become frames.

`native` is ours; another protocol is one more file beside it. Everything above this room speaks of commands
and events alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from gateway.wire.commands import ClientCommand
from gateway.wire.events import ServerEvent
from gateway.wire.frames import LineFrame
from realtime.channels import Channel
from realtime.publications import Publication


class Codec(Protocol):
    """How one client's protocol is read and written. Holds no state: all its clients may share one."""

    def decode(self, text: str) -> ClientCommand:
        """Read one message of a client; whatever is wrong with it becomes Malformed. Never raises."""

    def encode(self, event: ServerEvent) -> bytes:
        """Write one event as a whole frame, ready to be sent."""

    def encode_lines(
        self, channel: Channel, publication: Publication, numbers: Iterable[int]
    ) -> Iterator[LineFrame]:
        """Write these lines of a publication as messages of a channel, a frame each."""

"""What a client must get of a channel before its subscription is live: slices, sent as its send queue drains.

Subscriptions begin a replay; a step sends one slice that is ready. Clients share what is ready, and a client
that does not read costs only one slice and a position. A replay never adds a client to the hub: the caller of
the last step does that, without an await in between.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf
from typing import Protocol

from gateway import metrics
from gateway.delivery.recovery import Recovery
from gateway.hub.replay_cache import SLICE_BYTES
from gateway.hub.roster import Roster, RosterChange
from gateway.hub.subscribers import Subscription
from gateway.hub.topic import Topic
from gateway.projects.project import Tenant
from gateway.wire.codec import Codec
from gateway.wire.events import Resync
from gateway.wire.send_queue import SendQueue
from realtime.channels import Channel, TopicKey
from realtime.publications import Position
from realtime.waiting.survival import Part

GUESSED_BYTES = 200  # estimate for a missed message, until some were sent
REFERENCE_BYTES = 16  # of a member in a presence list

_part = Part("replay")


@dataclass(frozen=True, slots=True)
class Joining:
    """A client that is joining a topic: its subscription and its project."""

    subscription: Subscription[SendQueue]
    tenant: Tenant
    topic: Topic[SendQueue]

    @property
    def channel(self) -> Channel:
        return self.subscription.channel

    @property
    def send_queue(self) -> SendQueue:
        return self.subscription.subscriber

    @property
    def codec(self) -> Codec:
        return self.subscription.codec

    @property
    def key(self) -> TopicKey:
        return self.tenant.project_id, self.channel.topic


class Replay(Protocol):
    """What is left to send before a subscription is live."""

    joining: Joining

    @property
    def pending_bytes(self) -> int:
        """Estimated bytes left to send to the client, beyond what is in its send queue."""

    @property
    def held_bytes(self) -> int:
        """Bytes that the replay holds for this client alone."""

    async def find(self) -> None:
        """Make the next slice ready; `step` must follow without an await. Raises Unavailable."""

    def step(self) -> bool:
        """Send the slice; True if the client is up to date, and must be added to the hub at once."""


class HistoryReplay:
    """The messages after a position, from history and then from what the topic has delivered since."""

    held_bytes = 0

    def __init__(self, joining: Joining, recovery: Recovery, since: Position) -> None:
        self.joining = joining
        self._recovery = recovery
        self._since = since
        self._at = since  # the client was sent everything up to here
        self._sent_bytes = 0
        self._is_lost = False  # history no longer reaches back to `_at`

    def __repr__(self) -> str:
        return f"<HistoryReplay of {self.joining.channel.name} at {self._at}>"

    @property
    def pending_bytes(self) -> int:
        messages = max(0, self.joining.topic.position.offset - self._at.offset)
        read = self._at.offset - self._since.offset
        return messages * self._sent_bytes // read if read else messages * GUESSED_BYTES

    async def find(self) -> None:
        one = self.joining
        self._is_lost = not await self._recovery.find(one.tenant, one.channel, one.topic, self._at)

    def step(self) -> bool:
        topic = self.joining.topic
        if not self._is_lost and self._at != topic.position:
            try:
                self._send_slice()
            except Exception as error:  # messages that cannot be encoded count as lost
                _part.note(error, self.joining.channel.topic)
                topic.forget()
                self._is_lost = True
        if self._is_lost:
            self._send_resync()
        return self._is_lost or self._at == topic.position

    def _send_slice(self) -> None:
        one = self.joining
        assert one.topic.replay_cache is not None, "it was found"
        pieces, reached = one.topic.replay_cache.slice(one.subscription, self._at.offset)
        self._at = Position(self._at.epoch, reached)
        self._sent_bytes += sum(map(len, pieces))
        if pieces:
            one.send_queue.send(pieces)

    def _send_resync(self) -> None:
        """Send `resync`: the client was too slow for history, which expires, or a new epoch has begun."""
        metrics.resyncs.inc()
        one = self.joining
        one.send_queue.say(Resync(one.channel.name, one.topic.position))


class RosterReplay:
    """A presence list of one moment, then rounds of the changes that came while the one before was sent.

    A round has at most one change for each connection, and the last round is sent at once. The size allowed
    for a last round doubles with each round, so that the replay ends however fast others change.
    """

    def __init__(self, joining: Joining, roster: Roster) -> None:
        self.joining = joining
        self._roster = roster
        self._list = roster.attendance()  # what the client has when `_sent` and `_changes` are sent
        self._sent = 0  # members of the list that were sent
        self._is_list_sent = False  # whether the whole list was sent, even if empty
        self._changes: deque[RosterChange] = deque()  # not sent yet; they lead to the list
        self._last_bytes = SLICE_BYTES  # size of changes that may be sent at once

    def __repr__(self) -> str:
        name, changes = self.joining.channel.name, len(self._changes)
        return f"<RosterReplay of {name}, {self._sent} of {len(self._list)} sent, {changes} changes left>"

    @property
    def pending_bytes(self) -> int:
        unsent = self._list.size - self._list.size * self._sent // max(1, len(self._list))
        return unsent + sum(change.size for change in self._changes)

    @property
    def held_bytes(self) -> int:
        changed = sum(len(change.entries) for change in self._changes)
        return REFERENCE_BYTES * (len(self._list) + changed)

    async def find(self) -> None:
        """Nothing to do: the roster is in memory."""

    def step(self) -> bool:
        if not self._is_list_sent:
            frames, self._sent = self._roster.sync_after(
                self.joining.codec, self._list, self._sent, SLICE_BYTES
            )
            self._is_list_sent = self._sent == len(self._list)
            self._send(frames)
        else:
            self._send_changes(SLICE_BYTES)
        if not self._is_list_sent or self._changes:
            return False
        if not self._look_for_changes():
            return False
        self._send_changes(inf)
        return True

    def _look_for_changes(self) -> bool:
        """Find the changes since the list; True if they may be sent at once.

        Otherwise, if the present list is no larger than the changes, the client gets the list instead.
        """
        changes = self._roster.changes_since(self._list)
        self._list = self._roster.attendance()
        self._sent, self._changes = len(self._list), changes
        size = sum(change.size for change in changes)
        is_last, self._last_bytes = size <= self._last_bytes, 2 * self._last_bytes
        if not is_last and size >= self._list.size:
            self._sent, self._changes, self._is_list_sent = 0, deque(), False
        return is_last

    def _send_changes(self, most_bytes: float) -> None:
        codec = self.joining.codec
        frames: list[bytes] = []
        size = 0
        while self._changes and size < most_bytes:
            frames.append(codec.encode(self._roster.event_of(self._changes.popleft())))
            size += len(frames[-1])
        self._send(frames)

    def _send(self, frames: list[bytes]) -> None:
        if frames:
            metrics.messages_sent.inc(len(frames))
            self.joining.send_queue.messages += len(frames)
            self.joining.send_queue.send(frames)

"""The record of one topic that a node subscribes to, and the changes that may happen to the topic."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from gateway.delivery.redis_subscription import RedisSubscription
from gateway.delivery.stages import TopicQueue
from gateway.hub.topic import Topic
from gateway.wire.send_queue import SendQueue
from realtime.channels import TopicKey
from realtime.waiting.flag import Flag


class TopicChange(Enum):
    """What happens to a topic between Redis and its subscribers."""

    LOST = auto()  # messages of the topic do not arrive
    CONFIRMED = auto()  # messages arrive from now on
    GAP = auto()  # a message did not follow the last one
    DOUBTED = auto()  # Redis may have lost presence entries
    BROKEN = auto()  # a delivery failed, or reached only some of the subscribers
    FAILED = auto()  # catching up failed in this program, and tries again
    CAUGHT_UP = auto()  # no message is missing


@dataclass(slots=True, eq=False)
class OpenTopic:
    """A topic that this node subscribes to, or is about to subscribe to."""

    key: TopicKey
    channel: bytes  # the Redis channel of its messages
    topic: Topic[SendQueue]
    queue: TopicQueue = field(init=False)  # steps that are ordered and not delivered
    server: RedisSubscription | None = None  # to the server that has the topic; None: no server is known
    live: Flag = field(default_factory=Flag)  # set while all messages are known to arrive
    round: object | None = None  # of catching up; a round that is not this one must stop
    is_broken: bool = False  # messages were lost on this node: subscribers must get `resync`
    is_presence_due: bool = False  # presence changes will be sent soon

    def is_in(self, round: object) -> bool:
        """Whether this round of catching up is the current one."""
        return self.round is round

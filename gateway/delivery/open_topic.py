"""All that a node knows of one topic that it subscribes to, in one record, and what may happen to it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum, auto

from gateway.delivery.redis_subscription import RedisSubscription
from gateway.delivery.stages import TopicQueue
from gateway.hub.topic import Topic
from gateway.wire.send_queue import SendQueue
from realtime.channels import TopicKey


class Change(Enum):
    """What happens to a topic between Redis and its subscribers."""

    LOST = auto()  # its messages do not arrive
    CONFIRMED = auto()  # they do, from here on
    GAP = auto()  # one did not follow the last one
    DOUBTED = auto()  # Redis may have lost who is present
    BROKEN = auto()  # something could not be delivered, or was delivered to some subscribers alone
    FAILED = auto()  # likewise, by who catches up, and tries again
    CAUGHT_UP = auto()  # nothing is missing


@dataclass(slots=True, eq=False)
class OpenTopic:
    """A topic that this node subscribes to, or is about to."""

    key: TopicKey
    channel: bytes  # of Redis, by which its messages come
    topic: Topic[SendQueue]
    queue: TopicQueue = field(init=False)  # of what is in order and not delivered
    server: RedisSubscription | None = None  # to the server that has it; None: none is known
    live: asyncio.Event = field(default_factory=asyncio.Event)  # set while its messages are known to arrive
    round: object | None = None  # of catching up; another one, or none, makes the last one void
    is_broken: bool = False  # it lost something here, and has to say `resync`
    is_presence_due: bool = False  # news of who is present will be told soon

    def is_in(self, round: object) -> bool:
        """Whether this round of catching up is the present one."""
        return self.round is round

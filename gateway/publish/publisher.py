"""Publishes the broadcasts of clients, from sockets and from REST alike.

Broadcasts reach all subscribers, including the sender, through Redis like every other message.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.broker import Broker, Post
from gateway.projects.project import Tenant
from gateway.publish.batcher import Batcher, Call, Outcomes
from realtime.channels import Channel, TopicKey
from realtime.errors import ClientError, Unavailable
from realtime.waiting.survival import Part, internal

MEGABYTE = 1_048_576

Broadcast = tuple[Tenant, Channel, bytes]

_part = Part("voice")


@dataclass(frozen=True, slots=True)
class PublishBounds:
    """Bytes of the lines of broadcasts."""

    waiting: int = 64 * MEGABYTE  # that wait for Redis; a gateway hands in a part of its memory budget
    post: int = MEGABYTE  # in one publication; a single line may be longer
    call: int = 8 * MEGABYTE  # in all publications that are sent at once; a single line may be longer


DEFAULTS = PublishBounds()


class BroadcastPublisher:
    """Publishes the broadcasts of a node's clients, from sockets and from REST alike."""

    def __init__(
        self, broker: Broker, hears: Callable[[TopicKey], bool], bounds: PublishBounds = DEFAULTS
    ) -> None:
        self._broker = broker
        self._hears = hears  # whether messages of a topic would arrive now
        self._posts: Batcher[Broadcast] = Batcher(self._prepare)
        self._bounds = bounds
        self.waiting_bytes = 0  # that wait for Redis now

    def __repr__(self) -> str:
        return f"<BroadcastPublisher {self.waiting_bytes} bytes wait>"

    async def run(self) -> None:
        await self._posts.run()

    async def publish(self, tenant: Tenant, *broadcasts: tuple[Channel, bytes]) -> None:
        """Return when Redis has these lines; the lines of a channel keep their order.

        Raises Unavailable at once while Redis is unreachable or behind, or while as many bytes wait for Redis
        as this node has room for; raises ClientError `rate_limited` if the project has as much history as it
        may. In these cases nothing was sent.
        """
        if not all(self._hears((tenant.project_id, channel.topic)) for channel, _ in broadcasts):
            raise Unavailable("Redis cannot be reached now")
        size = sum(len(line) for _, line in broadcasts)
        if self.waiting_bytes + size > self._bounds.waiting:
            raise Unavailable("this node has too much to tell Redis")
        with tenant.ledger.room_for(size, tenant.limits.max_history_bytes, time.monotonic()):
            # The sender may disconnect before its lines are sent; the lines count until then.
            await asyncio.shield(asyncio.gather(*[self._put(tenant, *one) for one in broadcasts]))

    def _put(self, tenant: Tenant, channel: Channel, line: bytes) -> asyncio.Future[None]:
        self.waiting_bytes += len(line)
        published = self._posts.put((tenant, channel, line))
        published.add_done_callback(lambda _: self._count_published(len(line)))
        return published

    def _count_published(self, size: int) -> None:
        self.waiting_bytes -= size

    def _prepare(self, items: list[Broadcast]) -> Call:
        """Return the call that sends the items, in batches small enough for every subscriber of Redis."""
        batches = [_Batch(self._broker, batch) for batch in _batches(items, self._bounds)]

        async def send() -> Outcomes:
            return [outcome for batch in batches for outcome in await batch.send()]

        return send


class _Batch:
    """The lines that are sent at once: one post a channel, with its lines in order of arrival."""

    def __init__(self, broker: Broker, items: list[Broadcast]) -> None:
        self._items = items
        self._posts: dict[tuple[Tenant, str], Post] = {}
        for tenant, channel, line in items:
            post = self._posts.get((tenant, channel.topic))
            if post is None:
                post = self._posts[tenant, channel.topic] = Post(
                    tenant.project_id, channel.topic, [], tenant.history_of(channel)
                )
            post.lines.append(line)
        self._broadcast = broker.posting(list(self._posts.values()))

    async def send(self) -> Sequence[ClientError | None]:
        """Return the outcome of each item. An item with unknown outcome is not retried: it may be out."""
        try:
            sizes = dict(zip(self._posts, await self._broadcast(), strict=True))
            self._note_history(sizes)
        except ClientError as error:
            return [error] * len(self._items)
        except Exception as error:
            _part.note(error)
            return [internal()] * len(self._items)
        outcomes = [sizes[tenant, channel.topic] for tenant, channel, _ in self._items]
        return [outcome if isinstance(outcome, Unavailable) else None for outcome in outcomes]

    def _note_history(self, sizes: Mapping[tuple[Tenant, str], int | Unavailable]) -> None:
        now = time.monotonic()
        for (tenant, topic), history_bytes in sizes.items():
            if tenant.limits.max_history_bytes and not isinstance(history_bytes, Unavailable):
                until = now + self._posts[tenant, topic].history.max_seconds
                tenant.ledger.note(topic, history_bytes, until)


def _batches(items: Iterable[Broadcast], bounds: PublishBounds) -> Iterator[list[Broadcast]]:
    """Split broadcasts, in order, where a channel or all channels reach the bound."""
    batch: list[Broadcast] = []
    sizes: Counter[tuple[str, str]] = Counter()
    size = 0  # of the lines of all channels
    for tenant, channel, line in items:
        topic = (tenant.project_id, channel.topic)
        if batch and (sizes[topic] + len(line) > bounds.post or size + len(line) > bounds.call):
            yield batch
            batch, sizes, size = [], Counter(), 0
        batch.append((tenant, channel, line))
        sizes[topic] += len(line)
        size += len(line)
    yield batch

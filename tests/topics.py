"""Topics in Redis, written and read through a broker as a gateway does it, but all at once."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.broker import Broker, Post
from realtime.errors import Unavailable
from realtime.publications import Position, Publication


async def broadcast(broker: Broker, posts: Sequence[Post]) -> list[int | Unavailable]:
    """Publish messages of clients; return the outcome of each post."""
    return await broker.posting(posts)()


async def missed(
    broker: Broker, project: str, topic: str, since: Position, until: Position
) -> list[Publication] | None:
    """Read the publications of a topic after `since` up to `until`; None if history does not reach."""
    if since.epoch != until.epoch or since.offset > until.offset:
        return None
    found: list[Publication] = []
    while since.offset < until.offset:
        page = await broker.page(project, topic, since, until.offset)
        if page is None:
            return None
        found += page
        since = Position(since.epoch, page[-1].last)
    return found

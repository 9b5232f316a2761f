"""How much a feed reads, sends and remembers at most. Tests hand in smaller bounds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FeedBounds:
    """The bounds of one feed."""

    # The most tables that a feed ever publishes: Redis and the database keep each for ever, and a role that
    # may forge changes can invent any number of table names.
    topics: int = 20_000
    chunk_changes: int = 5_000  # in one call of the Redis script
    chunk_bytes: int = 1_048_576  # in one call of the script; a bigger change is sent alone
    small_batch: int = 1_000  # changes; a batch up to this size is read without a cursor


DEFAULT_BOUNDS = FeedBounds()

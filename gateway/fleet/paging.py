"""How pages are made from the answers of many nodes. Pure.

A page is exact up to where every answer reaches: a node that had to leave entries out bounds the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest
from itertools import chain
from typing import NamedTuple

from gateway.fleet.messages import MAX_ANSWER_BYTES, Channels, Client, Clients

PAGE_BYTES = 4 * MAX_ANSWER_BYTES  # of all answers that one page is made of, unless many nodes are asked
LEAST_SHARE_BYTES = 49_152  # of one node: the longest entry fits

CURSOR = re.compile("[0-9a-f]{1,32}[.][0-9a-f]{0,32}")


class Cursor(NamedTuple):
    """A position in the order of all clients: after this connection of this node."""

    node: str
    connection_id: str

    def __str__(self) -> str:
        return f"{self.node}.{self.connection_id}"


START = Cursor("", "")
LAST_ID = "f" * 32  # behind every connection of a node


def parse_cursor(text: str) -> Cursor | None:
    """Return the position that `next` of a page named; None for a text that no page named."""
    if CURSOR.fullmatch(text) is None:
        return None
    node, _, connection_id = text.partition(".")
    return Cursor(node, connection_id)


def share_bytes(nodes: int) -> int:
    """Return how many bytes each of so many nodes may answer."""
    return max(LEAST_SHARE_BYTES, min(MAX_ANSWER_BYTES, PAGE_BYTES // max(1, nodes)))


def end_of(node: str) -> Cursor:
    """Return the position after all clients of a node."""
    return Cursor(node, LAST_ID)


def first_nodes(counts: Mapping[str, int], after: Cursor, limit: int) -> list[str]:
    """Return the nodes that a page asks first: one of which a part was on the page before, alone.

    Nobody knows how many of its clients are left, so others are asked only if these do not fill the page.
    """
    if after.node in counts and after != end_of(after.node):
        return [after.node]
    return nodes_for_page(counts, after.node, limit)


def nodes_for_page(counts: Mapping[str, int], behind: str, limit: int) -> list[str]:
    """Return the nodes behind one, in order, that probably have `limit` clients and one more, together.

    Counts may be a moment old, so a node without a client is asked too, if it lies between others.
    """
    nodes: list[str] = []
    expected = 0
    for node in sorted(counts):
        if node > behind and expected <= limit:
            nodes.append(node)
            expected += counts[node]
    return nodes


class ClientPage(NamedTuple):
    """Clients in order, each with its node, and where the next page begins; None: this is the last one."""

    clients: list[tuple[str, Client]]
    next: Cursor | None


def page_of_clients(
    asked: Sequence[str], answers: Mapping[str, Clients], limit: int, *, others_follow: bool
) -> ClientPage:
    """Put together the answers of nodes that were asked, in order; a node without an answer is passed over.

    `others_follow` is whether there are nodes after those that were asked.
    """
    found: list[tuple[str, Client]] = []
    for node in asked:
        if (answer := answers.get(node)) is None:
            continue
        found += [(node, client) for client in answer.clients]
        if len(found) > limit:
            return ClientPage(found[:limit], _behind(found[limit - 1]))
        if answer.more:
            return ClientPage(found, _behind(found[-1]) if found else Cursor(node, ""))
    return ClientPage(found, end_of(asked[-1]) if asked and others_follow else None)


def _behind(entry: tuple[str, Client]) -> Cursor:
    node, client = entry
    return Cursor(node, client.connection_id)


class ChannelPage(NamedTuple):
    """Channels in order with their subscribers, and the name behind which the next page begins, if any."""

    channels: list[tuple[str, int]]
    next: str | None


def page_of_channels(answers: Iterable[Channels], limit: int) -> ChannelPage:
    """Add up the subscribers of each channel over nodes, as far as all answers reach."""
    answers = list(answers)
    horizons = [answer.channels[-1][0] for answer in answers if answer.more and answer.channels]
    horizon = min(horizons, default=None)
    total: dict[str, int] = {}
    for name, subscribers in chain.from_iterable(answer.channels for answer in answers):
        if horizon is None or name <= horizon:
            total[name] = total.get(name, 0) + subscribers
    names = nsmallest(limit, total)
    more = len(total) > limit or horizon is not None
    return ChannelPage([(name, total[name]) for name in names], names[-1] if more and names else None)

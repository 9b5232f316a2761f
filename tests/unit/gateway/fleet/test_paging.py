"""How pages are made of the answers of many nodes: nobody is in two of them, and nobody is left out."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.messages import MAX_ANSWER_BYTES, Channels, Client, Clients
from gateway.fleet.paging import (
    LEAST_SHARE_BYTES,
    START,
    ClientPage,
    Cursor,
    end_of,
    first_nodes,
    nodes_for_page,
    page_of_channels,
    page_of_clients,
    parse_cursor,
    share_bytes,
)


def client(connection_id: str) -> Client:
    return Client(
        connection_id=connection_id,
        user_id=None,
        role="authenticated",
        ip="127.0.0.1",
        user_agent=None,
        connected_at="…",
        expires_at="…",
        subscriptions=[],
        subscription_count=0,
        queue_bytes=0,
        messages_in=0,
        messages_out=0,
    )


IDS = st.text("0123456789abcdef", min_size=4, max_size=4)
FLEETS = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.sets(IDS, max_size=12), min_size=1)


def answer_of(there: set[str], after: str, limit: int, most: int) -> Clients:
    """What a node answers that has room for `most` clients, and for one in any case."""
    found = sorted(one for one in there if one > after)
    kept = found[: min(limit, max(1, most))]
    return Clients([client(one) for one in kept], len(kept) < len(found))


def one_page(
    fleet: dict[str, set[str]], counts: dict[str, int], after: Cursor, limit: int, most: int
) -> ClientPage:
    """A page as `Fleet` asks for it: further nodes, as long as the page has room."""
    asked: list[str] = []
    answers: dict[str, Clients] = {}
    page = ClientPage([], None)
    nodes = first_nodes(counts, after, limit)
    while nodes:
        for node in nodes:
            behind = after.connection_id if node == after.node else ""
            answers[node] = answer_of(fleet[node], behind, limit + 1, most)
        asked += nodes
        page = page_of_clients(asked, answers, limit, others_follow=max(fleet) > asked[-1])
        if page.next != end_of(asked[-1]):
            break
        nodes = nodes_for_page(counts, asked[-1], limit - len(page.clients))
    return page


@given(FLEETS, st.integers(1, 7), st.integers(1, 9), st.data())
def test_all_pages_together_have_every_client_once_and_in_order(fleet, limit, most, data):
    """Counts are what nodes reported a moment ago: they may be wrong."""
    counts = {node: data.draw(st.integers(0, 15)) for node in fleet}
    seen: list[tuple[str, str]] = []
    after: Cursor | None = START
    pages = 0
    while after is not None:
        pages += 1
        assert pages <= 2 * sum(map(len, fleet.values())) + 2 * len(fleet) + 1
        page = one_page(fleet, counts, after, limit, most)
        assert len(page.clients) <= limit
        seen += [(node, one.connection_id) for node, one in page.clients]
        assert page.next is None or page.next > after
        after = page.next
    assert seen == sorted((node, one) for node, there in fleet.items() for one in there)


def test_a_node_without_an_answer_is_passed_over():
    page = page_of_clients(["a", "b"], {"b": Clients([client("1")], False)}, 10, others_follow=False)
    assert ([one.connection_id for _, one in page.clients], page.next) == (["1"], None)


def test_a_node_that_has_more_ends_the_page_even_if_another_one_answered():
    answers = {"a": Clients([client("1")], True), "b": Clients([client("2")], False)}
    page = page_of_clients(["a", "b"], answers, 10, others_follow=False)
    assert ([one.connection_id for _, one in page.clients], page.next) == (["1"], Cursor("a", "1"))


def test_only_nodes_that_a_page_needs_are_asked():
    counts = {f"{number:02}": 10 for number in range(100)}
    assert nodes_for_page(counts, "", 25) == ["00", "01", "02"]
    assert nodes_for_page(counts, "97", 25) == ["98", "99"]
    assert nodes_for_page(counts, "", 1_000) == sorted(counts)


def test_a_node_that_reported_nobody_is_asked_too_if_it_lies_between():
    assert nodes_for_page({"a": 0, "b": 60, "c": 0}, "", 50) == ["a", "b"]


@pytest.mark.parametrize(
    "text", ["", "a", "a.b.c", "A.b", ".b", "a.g", "a.b\n", "a" * 33 + ".b", "٣.a", "a.٣"]
)
def test_a_text_that_no_page_named_is_no_cursor(text):
    assert parse_cursor(text) is None


@given(IDS, IDS)
def test_a_cursor_comes_back_as_it_was(node, connection_id):
    assert parse_cursor(str(Cursor(node, connection_id))) == Cursor(node, connection_id)


def test_a_cursor_may_stand_before_all_connections_of_a_node():
    assert parse_cursor("a.") == Cursor("a", "")


def test_the_more_nodes_are_asked_the_less_each_may_answer():
    assert [share_bytes(nodes) for nodes in (0, 1, 4)] == [MAX_ANSWER_BYTES] * 3
    assert share_bytes(8) == MAX_ANSWER_BYTES // 2
    assert share_bytes(1_000) == LEAST_SHARE_BYTES


NAMES = st.text("abc:", min_size=1, max_size=4)
SPREAD = st.lists(st.dictionaries(NAMES, st.integers(1, 9), max_size=15), min_size=1, max_size=4)


def channels_of(there: dict[str, int], after: str, most: int) -> Channels:
    found = sorted((name, count) for name, count in there.items() if name > after)
    return Channels(found[:most], len(found) > most)


@given(SPREAD, st.integers(1, 6), st.integers(1, 9))
def test_all_pages_of_channels_together_have_every_subscriber_once(nodes, limit, most):
    total: Counter[str] = Counter()
    for node in nodes:
        total.update(node)
    seen: list[tuple[str, int]] = []
    after: str | None = ""
    while after is not None:
        page = page_of_channels([channels_of(node, after, min(most, limit + 1)) for node in nodes], limit)
        assert len(page.channels) <= limit
        assert page.next is None or page.next > after
        seen += page.channels
        after = page.next
    assert seen == sorted(total.items())


def test_without_any_answer_there_is_no_channel():
    assert page_of_channels([], 10) == ([], None)

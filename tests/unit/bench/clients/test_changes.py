"""How clients count changes in what comes, wherever a read ends."""

from __future__ import annotations

import pytest

from bench.clients.changes import MARK, Counter

STREAM = (b"....." + MARK) * 3 + b"..."


@pytest.mark.parametrize("piece", range(1, len(STREAM) + 1))
def test_each_change_counts_once_in_pieces_of_any_length(piece: int) -> None:
    counter = Counter()
    pieces = [STREAM[at : at + piece] for at in range(0, len(STREAM), piece)]
    assert sum(counter.count(came) for came in pieces) == 3

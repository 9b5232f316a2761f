"""What `tests/workers.py` says of single test files is said of files that exist."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from tests.docs_fixture import ROOT
from tests.workers import ALONE, LONG

FILES = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}


def without_a_file(names: Collection[str]) -> list[str]:
    """The names that no test file has."""
    return sorted(set(names) - FILES)


@pytest.mark.parametrize("names", [ALONE, LONG], ids=["alone", "long"])
def test_every_file_that_is_spread_in_its_own_way_exists(names: frozenset[str]) -> None:
    assert names
    assert without_a_file(names) == []


def test_a_name_that_no_file_has_is_found() -> None:
    assert without_a_file([*ALONE, "test_that_was_renamed"]) == ["test_that_was_renamed"]


def test_no_file_is_both_alone_and_spread() -> None:
    assert not ALONE & LONG

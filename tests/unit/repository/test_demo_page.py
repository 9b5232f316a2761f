"""README shows the source of the demo page as it is, and it is short enough to be read."""

from __future__ import annotations

import pytest

from tests.docs_fixture import ROOT, blocks

DEMO = ROOT / "gateway" / "demo"
MOST_LINES = 60


@pytest.mark.parametrize(("language", "name"), [("html", "index.html"), ("javascript", "demo.js")])
def test_readme_shows_the_file(language: str, name: str) -> None:
    assert [block.text for block in blocks("README.md", language)] == [(DEMO / name).read_text()]


def test_the_source_is_short() -> None:
    lines = [line for name in ("index.html", "demo.js") for line in (DEMO / name).read_text().splitlines()]
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= 110

"""The pictures that README and docs show are those that `make screenshots` makes, and small."""

from __future__ import annotations

import re

from tests.docs_fixture import DOCUMENTS, ROOT, text_of
from tools.screenshots import IN_DOCS, KINDS, SHOTS, SHOWN

MOST_BYTES = 120_000


def test_the_pictures_of_the_docs_are_made_small_and_shown() -> None:
    made = {f"{name}-{kind}.png" for name, kind in IN_DOCS}
    assert {path.name for path in SHOWN.iterdir()} == made
    assert all(path.stat().st_size <= MOST_BYTES for path in SHOWN.iterdir())
    texts = "\n".join(text_of(document) for document in DOCUMENTS)
    assert set(re.findall(r"!\[[^\]]+\]\((?:docs/)?images/([^)]+)\)", texts)) == made


def test_every_page_has_a_picture() -> None:
    shell = (ROOT / "gateway" / "dashboard" / "shell.js").read_text()
    pages = set(re.findall(r'import\("./pages/(\w+)\.js"\)', shell))
    assert set() < pages <= {name.partition("-")[0] for name, _, _ in SHOTS} | {"overview"}
    assert {kind for _, kind in IN_DOCS} <= KINDS.keys()

"""The project's documents as tests read them: sections, tables, fenced blocks and the steps in these.

`tests/unit/repository/test_docs.py` compares them with the code, and
`tests/acceptance/test_documented_examples.py` plays the steps. Never starts anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
DOCUMENTS = (*PAGES, *(f"docs/{path.name}" for path in sorted(ROOT.glob("docs/*.md"))))

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CELL_END = re.compile(r"(?<!\\)\|")
_STEP = re.compile(
    r"(?:(?P<who>\w+) )?(?P<kind>[→←]) (?P<text>.*)|(?P<command>[$]) (?P<words>.*)|(?P<printed>[{].*)"
)


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language, and what is in it."""

    document: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


@dataclass(frozen=True)
class Step:
    """One step of an example.

    `→` is what a client says and `←` what it hears, `who` if the example has several; `$` is a command for
    the shell and `{` the JSON that it prints.
    """

    kind: str
    text: str
    who: str = ""


def text_of(document: str) -> str:
    return (ROOT / document).read_text()


def blocks(document: str, *languages: str) -> list[Block]:
    """The fenced blocks of these languages, in their order."""
    text = text_of(document)
    return [
        Block(document, text.count("\n", 0, found.start()) + 1, found[1], found[2])
        for found in _BLOCK.finditer(text)
        if found[1] in languages
    ]


def steps(block: Block) -> list[Step]:
    """Read a block of language `conversation`; a line that begins with a space goes on with the last."""
    found = []
    for line in block.text.replace("\n  ", " ").splitlines():
        match = _STEP.fullmatch(line)
        assert match is not None, f"{block}: {line!r} is no step of a conversation"
        found.append(_step(match))
    return found


def _step(match: re.Match[str]) -> Step:
    if match["command"]:
        return Step("$", match["words"])
    if match["printed"]:
        return Step("{", match["printed"])
    return Step(match["kind"], match["text"], match["who"] or "")


def section(document: str, heading: str) -> str:
    """What stands below a heading, down to the next one of any level."""
    parts = re.split(r"^#+ +(.*)$", text_of(document), flags=re.MULTILINE)
    below = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert heading in below, f"{document} has no section {heading!r}"
    return below[heading]


def table(document: str, heading: str) -> list[list[str]]:
    """The rows of the tables below a heading, as cells without their backticks; heads are left out."""
    lines = [line for line in section(document, heading).splitlines() if line.startswith("|")]
    rows = [[cell.strip().strip("`") for cell in _CELL_END.split(line)[1:-1]] for line in lines]
    rules = [index for index, row in enumerate(rows) if set("".join(row)) == {"-"}]
    heads = {index - 1 for index in rules}
    return [row for index, row in enumerate(rows) if index not in heads | set(rules)]

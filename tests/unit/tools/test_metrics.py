"""The table of `make metrics` says what is in the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs_fixture import ROOT
from tools.metrics import Code, cycles, floors, main

FILES = {
    "realtime/__init__.py": "",
    "realtime/words.py": "from typing import Any\ndef say(what: list[Any], /) -> None: ...\n",
    "gateway/app.py": "def run() -> None:\n    from gateway.hub import hub\n    import realtime.words\n",
    "gateway/hub/__init__.py": "",
    "gateway/hub/hub.py": (
        "import asyncio\nfrom realtime import words\nfrom gateway.hub.roster import Roster\n"
        "class Hub:\n    def __init__(self, a, *, b=1, **c) -> None: ...\n"
    ),
    "gateway/hub/roster.py": "class Roster:\n    def __init__(self) -> None: ...\n",
    "tests/test_a.py": "1\n" * 26,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def rows(*roots: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    main([str(one) for one in roots])
    cells = [line.strip("|").split(" | ") for line in capsys.readouterr().out.splitlines()]
    return {first.strip(): [one.strip() for one in rest] for first, *rest in cells}


def test_a_table_tells_sizes_and_imports(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(root, capsys=capsys)
    assert found["source: files, lines"] == ["6, 12"]
    assert found["lines of tests for a line of source"] == ["2.17"]
    assert found["longest file, lines"] == ["gateway/hub/hub.py, 5"]
    assert found["longest function, lines"] == ["run in gateway/app.py, 3"]
    assert found["most arguments of a constructor"] == ["Hub in gateway/hub/hub.py, 3"]
    assert found["signatures with Any"] == ["1 of 4"]
    assert found["imports between modules"] == ["4"]
    assert found["gateway: rooms, imports between them, floors"] == ["2, 1, 2"]
    assert found["gateway/hub/: files, lines"] == ["3, 7"]


def test_two_roots_are_two_columns(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(root, ROOT, capsys=capsys)
    assert found["longest file, lines"][0] == "gateway/hub/hub.py, 5"
    assert found["realtime/redis/: files, lines"][0] == ""
    assert found["realtime/redis/: files, lines"][1]


def test_an_import_within_a_function_counts(root: Path) -> None:
    assert Code(root).module_imports["gateway.app"] == {"gateway.hub.hub", "realtime.words"}


def test_cycles_are_found_and_have_no_floors() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}
    assert cycles(graph) == [{"b", "c"}]
    assert floors(graph) == 0
    assert floors({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == 3


def test_no_rooms_and_no_modules_of_ours_import_each_other_in_a_circle() -> None:
    code = Code(ROOT)
    assert cycles(code.room_imports) == []
    assert cycles(code.module_imports) == []

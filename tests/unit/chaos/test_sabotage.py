"""The service is broken on purpose only where the text that breaks it is known."""

from __future__ import annotations

from pathlib import Path

import pytest

import realtime
from tests.chaos import sabotage
from tests.chaos.sabotage import EDITS, Edit, sabotaged


@pytest.mark.parametrize("name", EDITS)
def test_the_copy_is_broken_and_the_tree_is_not(name, tmp_path):
    tree, edit = sabotaged(name, tmp_path), EDITS[name]
    whole = (Path(realtime.__file__).parents[1] / edit.file).read_text()
    assert (tree / edit.file).read_text() == whole.replace(edit.text, edit.instead) != whole


@pytest.mark.parametrize("text", ["no text of this file", "e"])
def test_a_text_that_is_not_there_once_is_refused(text, tmp_path, monkeypatch):
    monkeypatch.setitem(sabotage.EDITS, "unclear", Edit("realtime/names.py", text, "anything"))
    with pytest.raises(ValueError, match="times in"):
        sabotaged("unclear", tmp_path)

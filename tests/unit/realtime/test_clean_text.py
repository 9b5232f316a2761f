"""Text from outside: what is only told is mended, and what cannot be told is known."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.clean_text import is_clean, is_storable, mended

ANYTHING = st.text(st.characters(exclude_categories=())) | st.binary().map(
    lambda raw: raw.decode(errors="surrogateescape")
)


@given(ANYTHING, st.integers(0, 300))
def test_what_was_mended_can_be_encoded_printed_and_is_no_longer_than_asked(text, most):
    told = mended(text, most)
    assert len(told) == min(len(text), most)
    assert is_clean(told)
    assert msgspec.json.decode(msgspec.json.encode(told)) == told


@given(ANYTHING)
def test_what_is_clean_is_left_as_it_is_and_storable(text):
    if is_clean(text):
        assert mended(text, len(text)) == text
        assert is_storable(text)
        assert text.encode().decode() == text


@pytest.mark.parametrize(
    ("text", "clean", "storable"),
    [
        ("", True, True),
        ("München 🦀", True, True),
        ("a family: 👨\u200d👩\u200d👧", True, True),
        ("a\tb\nc", False, True),
        ("a\0b", False, False),
        ("\x1b[31m", False, True),
        ("\x9b31m", False, True),
        ("\x7f", False, True),
        ("A\udcffB", False, False),
        ("\ud800", False, False),
    ],
)
def test_a_text_may_be_clean_or_at_least_be_stored(text, clean, storable):
    assert (is_clean(text), is_storable(text)) == (clean, storable)

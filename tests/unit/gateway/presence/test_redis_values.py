"""What is read of values that anybody with access to Redis may have written."""

from __future__ import annotations

import pytest

from gateway.presence.redis_values import json_object, readable_texts


def test_names_that_are_no_text_are_left_out_and_hide_no_other() -> None:
    assert list(readable_texts([b"a", b"\xff", b"b"])) == ["a", "b"]


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"7", b"\xff", b"[" * 100_000])
def test_what_is_no_object_has_no_facts(raw: bytes) -> None:
    assert json_object(raw) == {}


def test_an_object_has_its_facts() -> None:
    assert json_object(b'{"event":"connect","at":1.5}') == {"event": "connect", "at": 1.5}

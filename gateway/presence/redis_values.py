"""Decodes values of Redis that anybody with access may have written: a broken value hides no other value.

The stores of this room use these functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import msgspec


def readable_texts(items: Iterable[bytes]) -> Iterable[str]:
    """Yield texts, without items that are not UTF-8: no node writes such an item."""
    for item in items:
        with suppress(UnicodeDecodeError):
            yield item.decode()


def json_object(raw: bytes) -> dict[str, Any]:
    """Decode a JSON object; return {} for anything else. One entry must not hide others of its project."""
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (ValueError, RecursionError):
        return {}

"""Reads values of Redis that anybody with access may have written: what nobody can read hides nothing else.

Used by the stores of this room.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import msgspec


def readable_texts(items: Iterable[bytes]) -> Iterable[str]:
    """Leave out what no node writes, and nobody can ask for by its name."""
    for item in items:
        with suppress(UnicodeDecodeError):
            yield item.decode()


def json_object(raw: bytes) -> dict[str, Any]:
    """Read a JSON object; what is none has no facts. One entry must not hide the others of its project."""
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (ValueError, RecursionError):
        return {}

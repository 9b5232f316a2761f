"""The door for text from outside: headers, queries, claims of a token, names from a database.

What is only told, as a browser's name, is mended. What is meant, as the name of a user or of a table, is
refused by whoever asked for it. Behind this door every text can be encoded, stored and printed.
"""

from __future__ import annotations

import re

REPLACEMENT = "\ufffd"

# Bytes of a header that are no UTF-8 come as surrogates; nothing that they are in can be encoded.
_NO_UNICODE = "\ud800-\udfff"
_CONTROLS = "\x00-\x1f\x7f-\x9f"  # a terminal that prints them does what they say
_UNSTORABLE = re.compile(f"[\0{_NO_UNICODE}]")
_UNCLEAN = re.compile(f"[{_CONTROLS}{_NO_UNICODE}]")


def mended(text: str, most: int) -> str:
    """Return at most so many characters of a text that is only told, with what nobody can read replaced."""
    return _UNCLEAN.sub(REPLACEMENT, text[:most])


def is_clean(text: str) -> bool:
    """Whether a text is Unicode without control characters."""
    return _UNCLEAN.search(text) is None


def is_storable(text: str) -> bool:
    """Whether Postgres can have a text: it is Unicode, and has no NUL. It may have tabs and line breaks."""
    return _UNSTORABLE.search(text) is None

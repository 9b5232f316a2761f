"""Check and clean text from outside: headers, queries, claims of a token, names from a database.

Text that is only displayed, such as a browser's name, is cleaned by `mended`. Text that identifies
something, such as a user or a table, is checked here, and the caller refuses it. After that, every text can
be encoded, stored and printed.
"""

from __future__ import annotations

import re

REPLACEMENT = "\ufffd"

# Bytes of a header that are not UTF-8 arrive as surrogates; a text with surrogates cannot be encoded.
_NO_UNICODE = "\ud800-\udfff"
_CONTROLS = "\x00-\x1f\x7f-\x9f"  # a terminal that prints control characters obeys them
_UNSTORABLE = re.compile(f"[\0{_NO_UNICODE}]")
_UNCLEAN = re.compile(f"[{_CONTROLS}{_NO_UNICODE}]")


def mended(text: str, most: int) -> str:
    """Return the first `most` characters of a displayed text, with controls and surrogates replaced."""
    return _UNCLEAN.sub(REPLACEMENT, text[:most])


def is_clean(text: str) -> bool:
    """Whether a text is valid Unicode without control characters."""
    return _UNCLEAN.search(text) is None


def is_storable(text: str) -> bool:
    """Whether Postgres can store a text: valid Unicode without NUL; tabs and line breaks are allowed."""
    return _UNSTORABLE.search(text) is None

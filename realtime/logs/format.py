"""Format a log record as one line of text or of JSON, without tokens.

`realtime.logs.setup` passes records as facts, and gets a string back. Every value is cleaned first, whatever
its type and however deeply it is nested. This module writes no log itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import ujson
from structlog.typing import EventDict

MAX_DEPTH = 6  # of nested facts; a value nested deeper is written as its repr
MAX_INTEGER_BITS = 64  # JSON readers accept such integers; a longer integer is written as text
LEVEL_WIDTH = 8  # of the longest level name

_SECRET = re.compile(
    r"eyJ[\w.%-]{8,}"  # a JWT, anywhere in the text
    # A JWT whose header has whitespace after `{`: all three parts are needed, since many words start like it.
    r"|(?:(?<![\w-])|(?<=\\[nrt]))e(?:yA|w[0ko])[\w-]{6,}\.[\w-]{8,}\.[\w-]{8,}"
    r"|(?P<named>(?i:token(?:=|%3D|\\*['\"]\s*:\s*\\*['\"])|bearer(?:\s|%20)+))[^\s&'\"\\,}]+"
    r"|(?P<user>://[^\s/:@]*:)[^\s/@]+(?=@)"  # the password in a URL
)
_SECRET_NAMES = frozenset({"token", "authorization", "password", "jwt_secret"})
_CUT = "[token]"

_BARE = re.compile(r"[\w./:@+-]+", re.ASCII)
# Characters that act on a terminal, or that a line reader takes for a line break.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def as_json(_: object, __: str, facts: EventDict) -> str:
    """Render a record as a JSON object on one line: `time`, `level`, `logger`, `event`, then its facts."""
    # DEL is the only control character that ujson does not escape.
    return _json(_in_order(facts)).replace("\x7f", r"\u007f")


def as_text(_: object, __: str, facts: EventDict) -> str:
    """Render a record as a line for people; the lines of a traceback follow, indented."""
    facts = _in_order(facts)
    trace = str(facts.pop("exception", ""))
    time, level, logger, event = (facts.pop(name) for name in ("time", "level", "logger", "event"))
    line = " ".join(
        [
            f"{time} {level.upper():{LEVEL_WIDTH}} {logger} {_word(event)}",
            *(f"{name}={_word(value)}" for name, value in facts.items()),
        ]
    )
    return "\n    ".join([line, *map(escape_controls, trace.splitlines())])


def _in_order(facts: EventDict) -> dict[str, Any]:
    record = facts.pop("_record")
    del facts["_from_structlog"]
    head = {
        "time": _time(record.created),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": clean(facts.pop("event")),
    }
    return head | {_text(name): _named(name, value, 1) for name, value in facts.items()}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _word(value: object) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value):
        return value
    return escape_controls(_json(value, ensure_ascii=False))


def _json(value: object, *, ensure_ascii: bool = True) -> str:
    """Return cleaned facts as one line of JSON; `clean` removes everything on which this would raise."""
    return ujson.dumps(
        value, ensure_ascii=ensure_ascii, escape_forward_slashes=False, separators=(", ", ": ")
    )


def escape_controls(text: str) -> str:
    """Return a text with each control character, also tabs and line breaks, as a JSON escape."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def clean(value: object, depth: int = 0) -> object:
    """Return a value that JSON can represent, with everything that looks like a token cut from its texts."""
    if value is None or _is_json_number(value):
        return value
    if depth < MAX_DEPTH and isinstance(value, Mapping):
        return {_text(name): _named(name, one, depth + 1) for name, one in value.items()}
    if depth < MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return _each(value, depth + 1)
    return _text(value)


def _is_json_number(value: object) -> bool:
    if isinstance(value, int):
        return value.bit_length() <= MAX_INTEGER_BITS
    return isinstance(value, float) and math.isfinite(value)


def _each(values: Iterable[object], depth: int) -> list[object]:
    return [clean(one, depth) for one in values]


def _named(name: object, value: object, depth: int) -> object:
    return _CUT if _text(name).lower() in _SECRET_NAMES else clean(value, depth)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")
    text = value if isinstance(value, str) else _repr(value)
    # Surrogates, from bytes that are not text, cannot be encoded: the whole record would be lost.
    text = text.encode(errors="backslashreplace").decode()
    return _SECRET.sub(lambda found: (found["named"] or found["user"] or "") + _CUT, text)


def _repr(value: object) -> str:
    """Return the repr of a value, and never fail: a record that cannot be written is lost."""
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__} without a repr>"

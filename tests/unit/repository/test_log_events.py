"""Log events in the code and in `docs/operations.md` agree, both ways: their names, levels and facts."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.docs_fixture import ROOT, table

LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
TAKEN = {"time", "level", "logger", "event", "exception", "stack_info"}  # by what every record has
EXCEPTION = {"exc_info"}  # how the standard library is told of one
IDS = {"node", "connection_id", "request_id"}  # bound around; `project` may be either


@dataclass(frozen=True)
class Call:
    """A place where something is logged."""

    where: str
    level: str
    event: str | None  # None if it is no literal
    facts: frozenset[str | None]
    is_plain: bool  # nothing but the event and facts by name


@cache
def calls() -> list[Call]:
    """Every `log.LEVEL(…)` of the program."""
    files = [
        path for part in ("realtime", "gateway", "notifier") for path in sorted((ROOT / part).rglob("*.py"))
    ]
    return [call for path in files for call in _calls_in(path)]


def _calls_in(path: Path) -> list[Call]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log" | "logger" | "logging"), attr=level)):
                if level in LEVELS:
                    found.append(_call(f"{path.relative_to(ROOT)}:{node.lineno}", level, node))
    return found


def _call(where: str, level: str, node: ast.Call) -> Call:
    match node.args:
        case [ast.Constant(value=str(event))]:
            name: str | None = event
        case _:
            name = None
    facts = frozenset(keyword.arg for keyword in node.keywords)
    return Call(where, "error" if level == "exception" else level, name, facts - EXCEPTION, name is not None)


def documented() -> dict[str, tuple[str, set[str]]]:
    """Level and facts of each event, by its name."""
    return {
        event: (level, set(re.findall(r"\w+", facts)))
        for event, level, facts, _ in table("docs/operations.md", "Log events")
    }


@pytest.mark.parametrize("call", calls(), ids=lambda call: call.where)
def test_an_event_has_a_literal_name_and_facts_by_name(call: Call) -> None:
    assert call.is_plain
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", call.event or "")
    assert None not in call.facts, "**facts cannot be documented"
    assert not call.facts & TAKEN


def test_every_event_is_documented_with_its_level_and_facts() -> None:
    levels: dict[str | None, set[str]] = defaultdict(set)
    facts: dict[str | None, set[str | None]] = defaultdict(set)
    for call in calls():
        levels[call.event].add(call.level)
        facts[call.event] |= call.facts - IDS
    assert {event: ({level}, told) for event, (level, told) in documented().items()} == {
        event: (levels[event], facts[event]) for event in levels
    }


def test_every_event_says_what_to_do() -> None:
    assert [row[0] for row in table("docs/operations.md", "Log events") if len(row[3]) < len("Nothing")] == []


def test_nothing_is_logged_but_by_our_loggers() -> None:
    """A sentence by the standard library's logger would be no event."""
    allowed = {"realtime/logs/setup.py", "gateway/http/middlewares.py"}  # sets them up; silences aiohttp's
    for part in ("realtime", "gateway", "notifier"):
        for path in (ROOT / part).rglob("*.py"):
            if str(path.relative_to(ROOT)) not in allowed:
                assert not re.search(r"\blogging\b|\bstructlog\.get_logger", path.read_text()), path

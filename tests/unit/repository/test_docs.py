"""Documents and code agree on codes, messages, requests, settings, metrics and commands, both ways."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import time
from typing import Any

import click
import msgspec
import pytest
from prometheus_client.metrics import MetricWrapperBase

from bench.__main__ import MEASUREMENTS, parser
from gateway import metrics as gateway_metrics
from gateway.http.routes import ENDPOINTS
from gateway.wire import native_messages
from notifier import metrics as notifier_metrics
from notifier.feed.feed_settings import FeedSettings
from notifier.leadership.candidacy import Candidacy
from notifier.project import ProjectFeed, State
from notifier.projects import why_not_ready
from realtime import errors, names
from realtime.cli.main import main
from realtime.errors import CLOSE_CODE, HTTP_STATUS, Code
from realtime.settings.config import Limits, Namespace, Project, Settings, load
from realtime.waiting import survival
from tests.docs_fixture import DOCUMENTS, ROOT, blocks, section, table, text_of

PROTOCOL, OPERATIONS = "docs/protocol.md", "docs/operations.md"
NEVER_SENT = {1005, 1006}  # how the history of connections records no code, and no close at all
MADE_OF_LINES = {
    "realtime",
    "broadcast",
    "presence",
}  # messages without a type: see `publications` and `presence`


def test_the_table_of_errors_has_every_code() -> None:
    assert sorted(row[0] for row in table(PROTOCOL, "Errors")) == sorted(Code)


def test_errors_have_the_documented_status_and_close_code() -> None:
    for code, status, close, _ in table(PROTOCOL, "Errors"):
        assert close == str(CLOSE_CODE.get(Code(code), "")), code
        assert status in ("", str(HTTP_STATUS.get(Code(code)))), code


def test_operators_read_of_every_error_what_clients_read() -> None:
    assert [row[:3] for row in table(OPERATIONS, "Error codes")] == [
        row[:3] for row in table(PROTOCOL, "Errors")
    ]


def test_the_tables_of_closes_have_every_code() -> None:
    ours = {
        value
        for name, value in vars(errors).items()
        if re.fullmatch("CLOSE_[A-Z_]+", name) and isinstance(value, int)
    }
    ours |= set(CLOSE_CODE.values())
    assert closes(PROTOCOL, "Closes") == ours
    assert closes(OPERATIONS, "Close codes") == ours | NEVER_SENT


def closes(document: str, heading: str) -> set[int]:
    return {int(code) for row in table(document, heading) for code in row[0].split(", ")}


@pytest.mark.parametrize(
    ("document", "heading", "column"), [(PROTOCOL, "Closes", 1), (OPERATIONS, "Close codes", 2)]
)
def test_a_close_is_explained_by_the_errors_that_cause_it(document: str, heading: str, column: int) -> None:
    for row in table(document, heading):
        causes = {code for code, close in CLOSE_CODE.items() if str(close) == row[0]}
        assert causes == set(re.findall(r"[a-z_]+", row[column])) & set(Code), row


def test_an_operator_is_told_what_to_do_about_every_code() -> None:
    for row in table(OPERATIONS, "Error codes") + table(OPERATIONS, "Close codes"):
        assert all(row[-2:]), row


@pytest.mark.parametrize(
    ("heading", "parent"),
    [
        ("Messages of the client", native_messages.ClientMessage),
        ("Messages of the server", native_messages.ServerMessage),
    ],
)
def test_every_message_is_in_its_table(heading: str, parent: type[msgspec.Struct]) -> None:
    documented = {kind for row in table(PROTOCOL, heading) for kind in re.findall(r"\w+", row[0])}
    known = {str(kind.__struct_config__.tag) for kind in parent.__subclasses__()}
    assert documented == known | (MADE_OF_LINES if parent is native_messages.ServerMessage else set())


CHANNELS = {"topic_channel", "probe", "node_inbox"}  # of pub/sub: nothing is kept of what goes over them


def test_every_key_in_redis_is_documented_with_who_makes_it_grow_and_how_far() -> None:
    arguments = {"project": "P", "topic": "C", "incarnation": "LIFE"}
    known = {
        function(*(arguments[name] for name in inspect.signature(function).parameters))
        for name, function in inspect.getmembers(names, inspect.isfunction)
        if name not in CHANNELS
    }
    rows = table(OPERATIONS, "Keys")
    assert {f"realtime:{row[0]}" for row in rows} == known
    assert all(cell for row in rows for cell in row)


def test_every_rest_endpoint_is_in_the_table_with_who_may() -> None:
    documented = [tuple(row[:2]) for row in table(PROTOCOL, "REST")]
    assert documented == [(f"{one.method} {one.path}", "S" if one.service_only else "") for one in ENDPOINTS]


@pytest.mark.parametrize(
    ("heading", "kind"),
    [("Top level", Settings), ("A project", Project), ("Limits", Limits), ("Namespaces", Namespace)],
)
def test_every_setting_is_documented_with_its_default(heading: str, kind: type[msgspec.Struct]) -> None:
    assert {row[0]: row[1] for row in table(OPERATIONS, heading)} == settings_of(kind)


def settings_of(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Names and defaults as TOML has them, but for what is a table of settings itself."""
    found = {}
    for field in msgspec.structs.fields(kind):
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        if isinstance(default, msgspec.Struct | dict):
            continue
        words = {msgspec.NODEFAULT: "required", None: "none"}
        found[field.name] = words[default] if default in (msgspec.NODEFAULT, None) else json.dumps(default)
    return found


def test_whoever_looks_first_finds_each_reason_that_a_notifier_gives() -> None:
    nothing: Any = None
    feed = ProjectFeed(
        FeedSettings("PROJECT", Project(database_url="postgresql://db/app"), nothing, 1.0), nothing
    )
    reasons = set()
    for feed.state in State:
        reasons.add(why_not_ready([feed]))
    feed.state, feed.candidacy = State.STANDBY, Candidacy("me", elected=True, trouble="…")
    reasons.add(why_not_ready([feed]))
    feed.candidacy.see_lease(time.monotonic(), None)
    reasons.add(why_not_ready([feed]))
    found = set(re.findall("`(PROJECT: [^`]*)`", section(OPERATIONS, "Look first")))
    assert found == reasons - {None}


def test_the_settings_that_are_shown_are_taken() -> None:
    (block,) = blocks("README.md", "toml")
    assert list(load(block.text, {}).projects) == ["demo"]


def test_every_metric_is_documented() -> None:
    assert [row[0] for row in table(OPERATIONS, "Metrics")] == [
        exposed_name(metric)
        for module in (survival, gateway_metrics, notifier_metrics)
        for metric in vars(module).values()
        if isinstance(metric, MetricWrapperBase)
    ]


def exposed_name(metric: MetricWrapperBase) -> str:
    """The name that Prometheus sees."""
    (family,) = metric.describe()
    return f"{family.name}_total" if family.type == "counter" else family.name


@pytest.mark.parametrize("name", main.commands)
def test_every_option_of_a_command_is_documented_with_its_default(name: str) -> None:
    assert {row[0]: row[1] for row in table(OPERATIONS, f"realtime {name}")} == {
        option.opts[0]: shown_default(option)
        for option in main.commands[name].params
        if isinstance(option, click.Option) and not option.hidden
    }


def shown_default(option: click.Option) -> str:
    default = option.to_info_dict()["default"]
    return "" if default is None or isinstance(default, bool) else str(default)


def test_the_options_of_all_commands_are_documented() -> None:
    for option in main.params:
        assert f"`{option.opts[0]}`" in section(OPERATIONS, "Command line")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_that_are_shown_exist(document: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in shown_commands(document):
        program, *words = shlex.split(line, comments=True)
        if program == "make":
            assert words[0] in targets, line
        elif program.endswith("realtime"):
            known = {name for option in main.commands[words[0]].params for name in option.opts}
            assert {word for word in words if word.startswith("--")} <= known, line


def test_measurements_that_are_shown_exist_with_their_options() -> None:
    shown = re.findall(r'make bench ARGS="(.*)"', text_of("docs/benchmarks.md"))
    assert {parser().parse_args(shlex.split(words)).only for words in shown} == set(MEASUREMENTS)


def shown_commands(document: str) -> list[str]:
    shown = [line for block in blocks(document, "sh") for line in block.text.splitlines()]
    shown += re.findall(r"`((?:make|realtime) [a-z][^`]*)`", text_of(document).replace("\n", " "))
    return [line for line in shown if line.startswith(("make ", "realtime ", ".venv/bin/realtime "))]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", text_of(document)):
        path, _, anchor = target.partition("#")
        page = (ROOT / document).parent / path if path else ROOT / document
        assert page.exists(), target
        assert not anchor or anchor in anchors(page.read_text()), target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_tests_that_are_named_exist(document: str) -> None:
    there = {
        name
        for path in ROOT.glob("tests/**/test_*.py")
        for name in (path.stem, *re.findall(r"def (test_\w+)", path.read_text()))
    }
    assert set(re.findall(r"\btest_[a-z0-9_]+\w", text_of(document))) <= there


def anchors(text: str) -> list[str]:
    headings = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]

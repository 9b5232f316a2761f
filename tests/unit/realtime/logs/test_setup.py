"""What a log record looks like when it is written, in either format, and that no token is left in it."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.contextvars import bound_contextvars, get_contextvars

from gateway.wire.native import NativeCodec
from gateway.wire.queue_writer import QueueWriter
from gateway.wire.send_queue import SendQueue
from realtime.logs.format import clean
from realtime.logs.setup import LogFormat, formatter, get_logger, shared_context
from realtime.settings.config import Limits

NAME = "tests.of.logs"
BOTH = pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.TEXT])
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2lnbmF0dXJl"
OPAQUE = "s3cret-5f0a91c7d2"

log = get_logger(NAME)

Write = Callable[[LogFormat], io.StringIO]


@pytest.fixture
def written() -> Iterator[Write]:
    """Call it with a format; what is logged from there on comes into what it returns."""
    logger = logging.getLogger(NAME)
    handlers: list[logging.Handler] = []

    def write(log_format: LogFormat) -> io.StringIO:
        stream = io.StringIO()
        handlers.append(logging.StreamHandler(stream))
        handlers[-1].setFormatter(formatter(log_format))
        logger.addHandler(handlers[-1])
        return stream

    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield write
    for handler in handlers:
        logger.removeHandler(handler)
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


def record(lines: io.StringIO) -> dict[str, Any]:
    """The only record that was written, in JSON."""
    (line,) = lines.getvalue().splitlines()
    return json.loads(line)


def test_a_record_is_an_object_of_four_keys_and_its_facts(written: Write) -> None:
    lines = written(LogFormat.JSON)
    log.warning("topics_reset", project="demo", topics=["a", "b"], topics_count=2, reason=None)
    assert list(record(lines).items())[1:] == [
        ("level", "warning"),
        ("logger", NAME),
        ("event", "topics_reset"),
        ("project", "demo"),
        ("topics", ["a", "b"]),
        ("topics_count", 2),
        ("reason", None),
    ]
    assert next(iter(record(lines))) == "time"


def test_its_time_is_utc_with_milliseconds(written: Write) -> None:
    lines = written(LogFormat.JSON)
    log.info("ready")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record(lines)["time"])


def test_text_is_time_level_logger_event_and_facts(written: Write) -> None:
    lines = written(LogFormat.TEXT)
    log.info("drain_began", address="::1", reason="a b", connections_count=3, projects=["x"], code=None)
    time, rest = lines.getvalue().split(" ", 1)
    assert time.endswith("Z")
    facts = 'address=::1 reason="a b" connections_count=3 projects=["x"] code=null'
    assert rest == f"INFO     {NAME} drain_began {facts}\n"


@BOTH
def test_a_record_of_a_library_has_the_same_form(written: Write, log_format: LogFormat) -> None:
    lines = written(log_format)
    logging.getLogger(NAME).warning("%s of %d", "one", 2)
    if log_format is LogFormat.JSON:
        assert record(lines).items() >= {"level": "warning", "logger": NAME, "event": "one of 2"}.items()
    else:
        assert lines.getvalue().endswith(f' WARNING  {NAME} "one of 2"\n')


@BOTH
@pytest.mark.parametrize("end", ["\n", "\r\n", "\x85", "\u2028", "\x0b", "\x1b[2J", "\x9b2J"])
def test_a_record_stays_one_line_whatever_is_in_it(written: Write, log_format: LogFormat, end: str) -> None:
    lines = written(log_format)
    log.info("ready", reason=f"a{end}b", projects=[f"c{end}d"])
    logging.getLogger(NAME).info("e%sf", end)
    assert len(lines.getvalue().splitlines()) == 2
    assert "".join(lines.getvalue().splitlines()).isprintable()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\udcff", b"\xff", {1: 2}, {"a"}, object()])
def test_what_json_cannot_have_is_written_all_the_same(written: Write, value: Any) -> None:
    lines = written(LogFormat.JSON)
    log.info("ready", reason=value)
    assert str(record(lines)["reason"]).encode()
    assert not re.search(r"\bNaN\b|\bInfinity\b", lines.getvalue())


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


def test_what_cannot_be_shown_costs_no_record() -> None:
    endless: list[Any] = []
    endless.append(endless)
    cleaned = clean([Broken(), endless])
    assert isinstance(cleaned, list)
    assert cleaned[0] == "<Broken without a repr>"


def fail() -> None:
    raise ValueError(f"no good:\n token={OPAQUE}")


def test_an_exception_is_one_field(written: Write) -> None:
    lines = written(LogFormat.JSON)
    try:
        fail()
    except ValueError:
        log.exception("message_failed")
        logging.getLogger(NAME).exception("of a library")
    for line in lines.getvalue().splitlines():
        found = json.loads(line)
        assert found["level"] == "error"
        assert found["exception"].startswith("Traceback (most recent call last):\n")
        assert found["exception"].endswith("ValueError: no good:\n token=[token]")
        assert "exc_info" not in found


def test_a_traceback_stands_indented_below_a_line_of_text(written: Write) -> None:
    lines = written(LogFormat.TEXT)
    try:
        fail()
    except ValueError:
        log.exception("message_failed")
    first, *others = lines.getvalue().splitlines()
    assert first.endswith(f"ERROR    {NAME} message_failed")
    assert others[-1] == "     token=[token]"
    assert all(line.startswith("    ") for line in others)


class Told:
    def __repr__(self) -> str:
        return f"<Told token={OPAQUE}>"


@BOTH
@pytest.mark.parametrize(
    "fact",
    [
        JWT,
        f"?token={OPAQUE}&x=1",
        f'token={OPAQUE}"quoted"',
        f"Authorization: Bearer {OPAQUE}",
        f"authorization: bearer {OPAQUE}",
        f'{{"type":"auth","token": "{OPAQUE}","ref":1}}',
        json.dumps({"text": json.dumps({"token": OPAQUE})}),
        json.dumps(json.dumps({"text": json.dumps({"token": OPAQUE})})),
        f"{{'token': '{OPAQUE}'}}",
        f"\n{JWT}\\n{JWT}",
        f"redis://user:{OPAQUE}@host:6379/0",
        f"redis://:{OPAQUE}@host",
        f"token={OPAQUE}".encode(),
        [f"token={OPAQUE}"],
        {"deep": {"deeper": [(f"token={OPAQUE}",)]}},
        {f"token={OPAQUE}": 1},
        {"token": OPAQUE},
        Told(),
        ValueError(JWT),
    ],
)
def test_no_token_is_left_wherever_it_stands(written: Write, log_format: LogFormat, fact: Any) -> None:
    lines = written(log_format)
    log.info("ready", reason=fact)
    logging.getLogger(NAME).info("%s", fact)
    assert OPAQUE not in lines.getvalue()
    assert "eyJ" not in lines.getvalue()
    assert "[token]" in lines.getvalue()
    if log_format is LogFormat.JSON:
        assert [json.loads(line)["level"] for line in lines.getvalue().splitlines()] == ["info"] * 2


@BOTH
@pytest.mark.parametrize("between", [" ", "\n", "\r\n", "\t"])
def test_a_token_with_blanks_in_its_json_is_found_where_it_stands_alone(
    written: Write, log_format: LogFormat, between: str
) -> None:
    lines = written(log_format)
    parts = [f'{{{between}"alg": "HS256"}}', f'{{{between}"sub": "bob"}}', "a signature of some bytes"]
    jwt = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)
    log.info("ready", reason=jwt, error=ValueError(f"of bob\n{jwt}, and"), host=[f"/{jwt}"])
    assert not any(part in lines.getvalue() for part in jwt.split("."))
    assert lines.getvalue().count("[token]") == 3


def test_a_fact_that_is_called_token_is_not_written(written: Write) -> None:
    lines = written(LogFormat.JSON)
    log.info("ready", token=OPAQUE, password=OPAQUE, reason={"Authorization": [OPAQUE]})
    assert OPAQUE not in lines.getvalue()


@BOTH
def test_what_is_no_token_stays(written: Write, log_format: LogFormat) -> None:
    lines = written(log_format)
    log.info("ready", reason="the token has expired; a token is required; keys of postgresql://me@host/x")
    log.info(
        "ready",
        reason="firework-display.of-tomorrow.in-the-evening eyebrows-and-lashes.of-the-bride.of-today",
    )
    assert "[token]" not in lines.getvalue()


def test_what_is_below_the_level_is_not_written(written: Write) -> None:
    lines = written(LogFormat.JSON)
    logging.getLogger(NAME).setLevel(logging.INFO)
    log.debug("connection_opened", address=Broken())
    assert lines.getvalue() == ""


def test_auto_is_text_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = logging.LogRecord(NAME, logging.INFO, "", 1, "hello", None, None)
    for terminal, beginning in ((True, "2"), (False, "{")):
        monkeypatch.setattr("sys.stderr", io.StringIO())
        monkeypatch.setattr("sys.stderr.isatty", lambda terminal=terminal: terminal, raising=False)
        assert formatter(LogFormat.AUTO).format(plain).startswith(beginning)


async def test_ids_are_those_of_the_task_that_logs(written: Write) -> None:
    lines = written(LogFormat.JSON)
    both = asyncio.Barrier(2)

    async def serve(connection_id: str) -> None:
        with bound_contextvars(connection_id=connection_id, project=f"of {connection_id}"):
            await both.wait()
            log.debug("connection_opened", address=connection_id)
            await both.wait()
        log.debug("connection_closed", reason=connection_id)

    await asyncio.gather(serve("a"), serve("b"))
    *opened, first, second = map(json.loads, lines.getvalue().splitlines())
    assert {(one["address"], one["connection_id"], one["project"]) for one in opened} == {
        ("a", "a", "of a"),
        ("b", "b", "of b"),
    }
    assert not {"connection_id", "project"} & (first.keys() | second.keys())


async def test_a_shared_task_has_the_node_and_no_ids(written: Write) -> None:
    lines = written(LogFormat.JSON)

    async def work() -> None:
        log.info("ready")

    with bound_contextvars(node="n", connection_id="c", request_id="r", project="p"):
        await asyncio.create_task(work(), context=shared_context())
        assert get_contextvars()["connection_id"] == "c"
    assert record(lines)["node"] == "n"
    assert not {"connection_id", "request_id", "project"} & record(lines).keys()


def test_a_fact_wins_over_what_is_bound(written: Write) -> None:
    lines = written(LogFormat.JSON)
    with bound_contextvars(project="bound"):
        log.info("ready", project="said")
    assert record(lines)["project"] == "said"


class Full(asyncio.Transport):
    """Takes nothing."""

    def get_write_buffer_size(self) -> int:
        return 10**9

    def is_closing(self) -> bool:
        return False


async def test_the_pump_works_under_nobodys_id() -> None:
    pump, slow = QueueWriter(), asyncio.get_running_loop().create_future()
    socket = SendQueue(Full(), "c", Limits(max_queue_bytes=1024), pump, NativeCodec())
    socket.on_slow = lambda: slow.set_result(get_contextvars())
    with bound_contextvars(connection_id="of who came first", project="demo"):
        socket.send([b"x"])
    async with asyncio.timeout(45):
        assert await slow == {}


def test_what_ends_a_process_is_a_record_too() -> None:
    program = (
        "from realtime.logs.setup import LogFormat, configure_logging\n"
        "configure_logging('INFO', LogFormat.JSON)\n"
        f"raise ValueError('token={OPAQUE}')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    (line,) = done.stderr.splitlines()
    crash = json.loads(line)
    assert (crash["level"], crash["event"], done.returncode) == ("critical", "process_crashed", 1)
    assert crash["exception"].endswith("ValueError: token=[token]")

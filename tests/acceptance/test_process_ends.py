"""What ends a process, as `docs/operations.md` lists it: where it cannot begin, or is told to."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import Stage
from tests.acceptance.programs import run, running
from tests.acceptance.served import LOCAL
from tests.ports import free_port


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.mark.parametrize("command", ["gateway", "notifier"])
async def test_an_internal_port_that_is_taken_ends_the_start_with_a_line(
    messages: Stage, taken: int, command: str
) -> None:
    more = ("--port", free_port()) if command == "gateway" else ()
    words = (command, "--config", messages.config, *LOCAL, "--internal-port", taken, *more)
    program = await run(*words, directory=messages.directory)
    assert program.status == 1
    assert "address already in use" in program.errors.splitlines()[-1]


async def test_a_port_that_is_taken_ends_the_start_with_a_line(messages: Stage, taken: int) -> None:
    words = ("gateway", "--config", messages.config, *LOCAL, "--port", taken)
    program = await run(*words, directory=messages.directory)
    assert program.status == 1
    assert "address already in use" in program.errors.splitlines()[-1]


@pytest.mark.parametrize("command", ["gateway", "notifier"])
async def test_neither_store_that_is_away_ends_a_process(messages: Stage, command: str) -> None:
    nobody = free_port()
    Stage(
        messages.directory, f"postgresql://nobody@127.0.0.1:{nobody}/nothing", f"redis://127.0.0.1:{nobody}"
    ).write()
    more = ("--port", free_port()) if command == "gateway" else ()
    words = (command, "--config", messages.config, *LOCAL, *more)
    async with running(*words, directory=messages.directory) as program:
        await program.tells("not_ready")
        assert await program.stop(signal.SIGTERM) == 0
    assert "part_failed" not in program.errors

"""Errors that a person can mend end a command with one line; others are not hidden."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner, Result

from realtime.cli.main import main
from realtime.errors import RealtimeError, Unavailable


@pytest.fixture
def failing() -> Iterator[list[BaseException]]:
    """Errors that the command `fail` raises, as a group if there are several."""
    errors: list[BaseException] = []

    @main.command()
    def fail() -> None:
        raise errors[0] if len(errors) == 1 else BaseExceptionGroup("several", errors)

    yield errors
    del main.commands["fail"]


def run() -> Result:
    # Logging is set up by a command for its process, which here is that of the tests.
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("realtime.cli.main.configure_logging", lambda *_: None)
        return CliRunner().invoke(main, ["fail"])


@pytest.mark.parametrize(
    ("errors", "line"),
    [
        ([RealtimeError("broken")], "broken"),
        ([RealtimeError("a"), ExceptionGroup("inner", [RealtimeError("b"), RealtimeError("a")])], "a; b"),
        ([OSError(errno.EADDRINUSE, "in use")], f"[Errno {errno.EADDRINUSE}] in use"),
        ([Unavailable("Redis is away", "db:1: refused")], "Redis is away: db:1: refused"),
        ([Unavailable("Redis is away")], "Redis is away"),
    ],
)
def test_what_can_be_mended_is_one_line(
    failing: list[BaseException], errors: list[BaseException], line: str
) -> None:
    failing += errors
    result = run()
    assert (result.exit_code, result.stderr) == (1, f"Error: {line}\n")


@pytest.mark.parametrize("error", [ValueError("bug"), OSError(errno.ENOSPC, "full")])
def test_what_nobody_foresaw_is_raised(failing: list[BaseException], error: BaseException) -> None:
    failing += [RealtimeError("beside it"), error]
    result = run()
    assert isinstance(result.exception, ExceptionGroup)


def test_every_command_and_option_has_a_help_text() -> None:
    for command in main.commands.values():
        assert command.help
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.help, f"{command.name} {option.opts[0]}"

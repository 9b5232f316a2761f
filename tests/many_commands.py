"""Runs many `realtime` commands in one process, for tests that would else start thousands.

Reads from standard input a JSON list of [words, environment]; writes a list of [status, what it said on
standard error, and the exception that nobody caught].
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence

from click.testing import CliRunner

from realtime.cli.main import main

Command = tuple[Sequence[str], Mapping[str, str]]


def outcomes(commands: Iterable[Command]) -> list[tuple[int, str, str | None]]:
    found = []
    for words, environment in commands:
        result = CliRunner().invoke(main, [*words], env=dict(environment))
        error = result.exception
        crash = None if error is None or isinstance(error, SystemExit) else repr(error)
        found.append((result.exit_code, result.stderr, crash))
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(outcomes(json.load(sys.stdin))))

"""What tests of commands share: a service that is a stand-in, and a command that is run against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from realtime.cli.main import main
from tests.rest_stand_in import StandIn, stand_in

Ran = Callable[..., Result]


@pytest.fixture
def service() -> Iterator[StandIn]:
    with stand_in() as service:
        yield service


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    """Run a command in this process."""
    # Logging is set up by a command for its process, which here is that of the tests.
    monkeypatch.setattr("realtime.cli.main.configure_logging", lambda *_: None)
    monkeypatch.setattr("realtime.cli.main.forget_libpq", lambda: None)
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def at(service: StandIn, ran: Ran) -> Ran:
    """Run a command that asks the stand-in."""
    return lambda name, *words: ran(name, *words, "--url", service.url, "--token", "jwt")

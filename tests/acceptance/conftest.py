"""What the acceptance tests share: one `realtime dev` that is left alone, and settings for parts by hand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.acceptance.programs import Dev, psql, running_dev
from tests.gateway_fixture import SECRET


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def dev(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Dev]:
    """A `realtime dev` for tests that neither stop it nor change its settings."""
    async with running_dev(tmp_path_factory.mktemp("dev")) as dev:
        yield dev


@pytest.fixture(scope="session")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for those that start a `realtime dev` of their own, one after the other."""
    return tmp_path_factory.mktemp("spare")


@dataclass(frozen=True)
class Stage:
    """Settings of a project `demo` in a file, for commands that are started by hand."""

    directory: Path
    database_url: str
    redis_url: str

    @property
    def config(self) -> Path:
        return self.directory / "realtime.toml"

    def write(self, *top: str, project: tuple[str, ...] = (), drain_seconds: float = 0) -> None:
        lines = (
            *(f"redis_url = {json.dumps(self.redis_url)}", f"drain_seconds = {drain_seconds}", *top),
            "[projects.demo]",
            *(f"database_url = {json.dumps(self.database_url)}", f"jwt_secret = {json.dumps(SECRET)}"),
            *project,
        )
        self.config.write_text("\n".join(lines) + "\n")


@pytest.fixture
def stage(tmp_path: Path, database_url: str, redis_url: str) -> Stage:
    stage = Stage(tmp_path, database_url, redis_url)
    stage.write()
    return stage


@pytest.fixture
async def messages(stage: Stage) -> Stage:
    """A stage whose database has a table `messages`."""
    await psql(stage.database_url, "create table messages (id bigserial primary key, body text)")
    return stage

"""What README.md and pages of docs/ show is what happens: their examples, played against a real service.

A `conversation` is played step by step, on a new connection for each name in it; `sh` blocks that call curl
or psql are run, and print the `json` block below. In what is shown "…" stands for anything, as the last of
a list for anything more, and "$NAME" for something that is used again further down.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from realtime.dev.postgres import postgres_program
from tests.acceptance.programs import START_SECONDS, Dev, client_of, run, running_dev
from tests.acceptance.test_browser import Tab, tab  # noqa: F401
from tests.docs_fixture import Block, Step, blocks, steps, text_of
from tests.gateway_fixture import Client

PAGES = ("README.md", "docs/protocol.md")
COMMANDS = (*PAGES, "docs/dashboard.md")  # pages that show commands
ANYTHING = "…"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Dev]:
    """A `realtime dev` for the examples alone: they switch tables on and off."""
    async with running_dev(tmp_path_factory.mktemp("documents")) as dev:
        yield dev


class Stage:
    """Where one example is played: its connections, and what its names stand for."""

    def __init__(self, service: Dev, stack: AsyncExitStack) -> None:
        self.service = service
        self.stack = stack
        self.clients: dict[str, Client] = {}
        self.printed = ""  # by the last command
        self.names = {
            "$TOKEN": service.token,
            "$SERVICE_TOKEN": service.service_token,
            "$DATABASE_URL": service.database_url,
            "$URL": f"{service.url}/projects/demo/realtime",
        }

    async def play(self, step: Step) -> None:
        match step.kind:
            case "→":
                client = await self.client(step.who)
                await client.web_socket.send_str(self.with_names(step.text))
            case "←":
                heard = await self.hear(step.who, greeting='"connected"' in step.text)
                self.expect(step, heard)
            case "$":
                self.printed = await asyncio.to_thread(self.shell, step.text)
            case "{":
                self.expect(step, parse(self.printed))

    async def client(self, who: str) -> Client:
        """The connection of that name, opened when the example first speaks of it."""
        if who not in self.clients:
            client = await self.stack.enter_async_context(
                client_of(self.service.url, await self.token_of(who or "alice"))
            )
            self.clients[who] = client
        return self.clients[who]

    async def token_of(self, who: str) -> str:
        if who == "alice":
            return self.service.token
        words = self.service.program.words
        data = Path(words[words.index("--data-dir") + 1])
        config = data / "realtime.toml"
        issued = await run("token", "--sub", who, "--config", config, directory=data.parent)
        return issued.lines[0]

    async def hear(self, who: str, greeting: bool) -> Any:
        client = await self.client(who)
        if greeting:
            return client.connected
        return parse((await client.web_socket.receive(timeout=START_SECONDS)).data)

    def shell(self, words: str) -> str:
        """Run a command with what it needs in its environment; psql is there also where none is installed."""
        psql = postgres_program("psql")
        variables = {name.removeprefix("$"): value for name, value in self.names.items()}
        environment = {**os.environ, **variables, "PATH": f"{os.environ['PATH']}{os.pathsep}{psql.parent}"}
        done = subprocess.run(
            words,
            shell=True,
            env=environment,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def with_names(self, text: str) -> str:
        return re.sub(r"\$[A-Z_]+", lambda found: self.names[found[0]], text)

    def expect(self, step: Step, heard: Any) -> None:
        assert self.fits(parse(step.text), heard), f"instead of {step.text}\ncame {heard}"

    def fits(self, shown: Any, heard: Any) -> bool:
        """Whether something is what was shown, field by field."""
        if shown == ANYTHING:
            return True
        if isinstance(shown, str) and shown.startswith("$"):
            return bool(self.names.setdefault(shown, heard) == heard)
        if isinstance(shown, dict) and isinstance(heard, dict):
            return shown.keys() == heard.keys() and all(self.fits(shown[key], heard[key]) for key in shown)
        if isinstance(shown, list) and isinstance(heard, list):
            if shown[-1:] == [ANYTHING]:
                shown, heard = shown[:-1], heard[: len(shown) - 1]
            return len(shown) == len(heard) and all(map(self.fits, shown, heard))
        return bool(shown == heard)


def parse(text: str) -> Any:
    """JSON with every digit."""
    return json.loads(text, parse_float=Decimal)


def requests(page: str) -> list[tuple[Block, Block | None]]:
    """The blocks for the shell that ask the service something, each with the answer that is shown."""
    found = blocks(page, "sh", "json")
    answers = dict(pairwise(found))
    return [
        (block, answers[block] if block in answers and answers[block].language == "json" else None)
        for block in found
        if block.language == "sh" and block.text.startswith(("curl ", "psql "))
    ]


CONVERSATIONS = [block for page in PAGES for block in blocks(page, "conversation")]
REQUESTS = [request for page in COMMANDS for request in requests(page)]


def require(program: str) -> None:
    """Only CI insists on programs that are not ours."""
    if shutil.which(program) is None:
        reason = f"there is no {program} on this machine"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


async def play(service: Dev, parts: list[Step]) -> None:
    if any(step.kind == "$" and step.text.startswith("curl ") for step in parts):
        require("curl")
    async with AsyncExitStack() as stack:
        stage = Stage(service, stack)
        for step in parts:
            await stage.play(step)


@pytest.mark.parametrize("block", CONVERSATIONS, ids=str)
async def test_a_conversation_goes_as_it_is_shown(service: Dev, block: Block) -> None:
    await play(service, steps(block))


@pytest.mark.parametrize(("request_", "answer"), REQUESTS, ids=str)
async def test_a_request_is_answered_as_it_is_shown(
    service: Dev, request_: Block, answer: Block | None
) -> None:
    await play(service, [Step("$", request_.text)] + ([Step("{", answer.text)] if answer is not None else []))


async def test_the_readmes_page_logs_what_psql_inserts(service: Dev, tab: Tab) -> None:  # noqa: F811
    (block,) = blocks("README.md", "js")
    program = block.text.replace('"TOKEN"', json.dumps(service.token))
    assert program.count("127.0.0.1:8000") == 1
    program = program.replace("http://127.0.0.1:8000", service.url)
    program = program.replace("ws://127.0.0.1:8000", service.url.replace("http:", "ws:"))
    await tab.page.add_script_tag(content=program)
    await tab.receives("subscribed", 2)
    await service.psql("insert into users (name) values ('Rahul')")
    ((table, event, data),) = await tab.log(1)
    assert (table, event, data["name"]) == ("users", "INSERT", "Rahul")


async def test_the_command_of_the_dashboards_page_prints_a_token_that_sees_everything(service: Dev) -> None:
    (block,) = [one for one in blocks("docs/dashboard.md", "sh") if one.text.startswith("realtime token ")]
    words = service.program.words
    config = {"REALTIME_CONFIG": words[words.index("--data-dir") + 1] + "/realtime.toml"}
    directory = service.program.directory
    issued = await run(*block.text.split()[1:], directory=directory, environment=config)
    headers = {"Authorization": f"Bearer {issued.lines[0]}"}
    address = f"{service.url}/projects/demo/realtime/stats"
    async with aiohttp.ClientSession() as http, http.get(address, headers=headers) as answer:
        assert answer.status == 200, await answer.text()


def test_every_page_has_examples() -> None:
    for page in PAGES:
        assert any(str(block).startswith(page) for block in CONVERSATIONS), page
        assert "curl " in text_of(page)

"""What docs/javascript.md shows is what happens: its examples, run in Node against a real service.

An example is a `js` block with the `text` blocks that it prints and the `psql` commands between them. In what
is printed "…" stands for anything, and as a line for any lines.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from realtime.dev.postgres import postgres_program
from tests.acceptance.javascript_package import CLIENT, install, run
from tests.acceptance.node import JAVASCRIPT, MODULES, NodeProgram, node_with_ws, running_node
from tests.acceptance.programs import REALTIME, Dev, clean_environment
from tests.browser_fixture import Tabs
from tests.docs_fixture import Block, blocks, table

PAGE = "docs/javascript.md"
HOST = "https://realtime.example.com"
CLIENT_OF_THE_PAGE = f"""
import {{ connect }} from "zmesh-realtime"
const rt = connect("{HOST}/projects/demo", {{ token: async () => (await fetch("/realtime-token")).text() }})
"""


@dataclass
class Example:
    program: Block
    steps: list[Block] = field(default_factory=list)  # what it prints, and what is run meanwhile

    def __str__(self) -> str:
        return str(self.program)


def examples() -> list[Example]:
    found: list[Example] = []
    for block in blocks(PAGE, "js", "jsx", "ts", "sh", "text"):
        if block.language in ("js", "jsx", "ts"):
            found.append(Example(block))
        elif block.text.startswith("psql ") or block.language == "text":
            found[-1].steps.append(block)
    return [example for example in found if example.program.language == "js"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package, as an application has it."""
    directory = tmp_path_factory.mktemp("application")
    await install(directory)
    return directory


@asynccontextmanager
async def application(dev: Dev) -> AsyncIterator[TestServer]:
    """The application's own server, which makes tokens and reads tables."""

    async def token(_: web.Request) -> web.Response:
        return web.Response(text=dev.token)

    async def orders(_: web.Request) -> web.Response:
        rows = await dev.psql("select coalesce(json_agg(orders order by id), '[]') from orders")
        return web.Response(text=rows, content_type="application/json")

    app = web.Application()
    app.router.add_get("/realtime-token", token)
    app.router.add_get("/api/orders", orders)
    server = TestServer(app)
    async with server:
        yield server


def shell(dev: Dev, words: str) -> None:
    """Run psql, also where none is installed."""
    psql = postgres_program("psql")
    environment = clean_environment({"DATABASE_URL": dev.database_url})
    environment["PATH"] = f"{environment['PATH']}:{psql.parent}"
    done = subprocess.run(words, shell=True, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def pattern(shown: str) -> re.Pattern[str]:
    """What is shown, as what may be printed for it; a line "…" is any lines, and none."""
    lines = [
        r"(.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r"\n"
        for line in shown.splitlines()
    ]
    return re.compile("".join(lines))


def printed(program: NodeProgram) -> str:
    return "".join(f"{event['printed']}\n" for event in program.events if "printed" in event)


def is_subscribed(program: NodeProgram) -> bool:
    kinds = [event.get("type") for event in program.events]
    return 0 < kinds.count("subscribe") == kinds.count("subscribed")


@pytest.mark.parametrize("example", examples(), ids=str)
async def test_an_example_prints_what_is_shown(dev: Dev, directory: Path, example: Example) -> None:
    runtime = node_with_ws()
    await dev.psql("truncate orders")  # the page knows of no rows of other tests
    text = example.program.text
    if "connect(" not in text:
        text = CLIENT_OF_THE_PAGE + text
    script = directory / f"example{example.program.line}.mjs"
    script.write_text(text.replace(HOST, dev.url))
    shown = ""
    async with application(dev) as server:
        before = ("--import", (JAVASCRIPT / "example.mjs").as_uri())
        facts = {"application": str(server.make_url("/"))}
        async with running_node(runtime, script, directory, *before, **facts) as program:
            for step in example.steps:
                if step.language == "sh":
                    await program.does(lambda: is_subscribed(program))
                    await asyncio.to_thread(shell, dev, step.text)
                else:
                    shown += step.text
                    expected = pattern(shown)
                    await program.does(lambda expected=expected: expected.fullmatch(printed(program)))
            if not example.steps:
                await program.does(lambda: is_subscribed(program))


async def test_the_types_that_are_shown_are_those_of_the_database(dev: Dev, directory: Path) -> None:
    node_with_ws()
    (program,) = blocks(PAGE, "ts")
    (command,) = (block.text for block in blocks(PAGE, "sh") if block.text.startswith("realtime types"))
    words = dev.program.words
    config = Path(words[words.index("--data-dir") + 1]) / "realtime.toml"
    command = command.replace("realtime ", f"{REALTIME} ", 1).replace(
        "types ", f"types --config {config} ", 1
    )
    await run("sh", "-c", command, directory=directory)
    (directory / "typed.ts").write_text(program.text)
    options = (
        "--noEmit --strict --module nodenext --target es2022 --lib es2023,dom,esnext.disposable --types node"
    )
    await run(MODULES / ".bin" / "tsc", *options.split(), "--ignoreConfig", "typed.ts", directory=directory)


async def test_the_page_that_is_shown_loads_the_client(dev: Dev, tabs: Tabs) -> None:
    (html,) = blocks(PAGE, "html")
    page = await tabs.open()
    async with page.expect_response(lambda response: response.url == f"{dev.url}/realtime.js") as loading:
        await page.set_content(html.text.replace(HOST, dev.url), wait_until="load")
    assert (await loading.value).ok


def test_every_reason_of_a_status_is_in_the_table() -> None:
    source = (CLIENT / "src" / "connection.ts").read_text()
    known = set(re.findall(r'_(?:closed\(0|wait\(|end\(new RealtimeError\()(?:, )?"(\w+)"', source))
    (for_good,) = re.findall(r"FOR_GOOD.*= (\{.*\})", source)
    known |= set(re.findall(r'"(\w+)"', for_good)) | {"connection_lost", "closed"}
    shown = {reason for row in table(PAGE, "Status and reasons")[5:] for reason in re.findall(r"\w+", row[0])}
    assert known <= shown
    assert shown - known == {"token_expired", "draining"}, "codes of the server"


def test_the_page_has_examples_that_print() -> None:
    assert sum(1 for example in examples() if example.steps) >= 8

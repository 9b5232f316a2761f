"""The package of the JavaScript client as `npm install` puts it beside a program."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from tests.acceptance.node import MODULES, missing
from tests.docs_fixture import ROOT

CLIENT = ROOT / "clients" / "javascript"
OTHERS = ("ws", "react", "react-dom", "scheduler", "@types", "typescript")


async def run(*words: str | Path, directory: Path) -> str:
    """Run a program to its end; return what it printed."""
    process = await asyncio.create_subprocess_exec(
        *map(str, words),
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def install(directory: Path) -> None:
    """Put the package, and those that examples use beside it, below the directory's `node_modules`."""
    node = shutil.which("node")
    if node is None:
        missing("there is no node on this machine; 20 or newer is needed")
    if not MODULES.exists():
        missing("the client's development packages are not installed: make client")
    package = directory / "node_modules" / "zmesh-realtime"
    package.mkdir(parents=True)
    await run(str(node), CLIENT / "scripts" / "build.mjs", package / "dist", directory=CLIENT)
    shutil.copyfile(CLIENT / "package.json", package / "package.json")
    for name in OTHERS:
        (directory / "node_modules" / name).symlink_to(MODULES / name)


async def bundle(directory: Path, entry: Path) -> Path:
    """Make one file for a browser of a program and all that it imports."""
    made = directory / "bundle.js"
    words = ("--bundle", "--format=esm", "--jsx=automatic", "--log-level=warning", f"--outfile={made}")
    await run(MODULES / ".bin" / "esbuild", entry, *words, directory=directory)
    return made

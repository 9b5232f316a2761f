"""The JavaScript client: the file that gateways serve is what its source builds, and its own tests pass."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.node import missing

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "javascript"
SERVED = ROOT / "gateway" / "static" / "realtime.js"
OLDEST_NODE = 20
PROMISED_BYTES = 6_500  # compressed
SUMMARY = re.compile(
    r"^.*(?:bytes|lives|No problems found|All good!|^\S+ (?:tests|pass|fail|skipped) \d).*$", re.M
)


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        missing("there is no node on this machine")
    assert found is not None
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").split(".")[0]) < OLDEST_NODE:
        missing(f"node {version.strip()} is older than {OLDEST_NODE}")
    if not (CLIENT / "node_modules").is_dir():
        missing("the client's packages are not installed: npm ci in clients/javascript")
    return found


def run(command: list[str], seconds: int) -> str:
    done = subprocess.run(
        command, cwd=CLIENT, capture_output=True, text=True, timeout=seconds, env=os.environ | {"CI": "true"}
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def show(capsys: pytest.CaptureFixture[str], output: str) -> None:
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(SUMMARY.findall(output)) + "\n")


def test_the_served_file_is_what_its_source_builds(
    node: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(capsys, run([node, "scripts/build.mjs", str(tmp_path / "dist")], 120))
    assert (tmp_path / "dist" / "realtime.min.js").read_bytes() == SERVED.read_bytes(), "run: make client"


def test_the_served_file_is_small() -> None:
    assert len(gzip.compress(SERVED.read_bytes(), 9)) <= PROMISED_BYTES


@pytest.mark.timeout(900)
def test_the_clients_own_tests_pass(node: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(capsys, run(["npm", "test"], 840))


def test_the_package_has_the_version_of_the_server() -> None:
    from realtime import __version__

    assert f'"version": "{__version__}"' in (CLIENT / "package.json").read_text()
    assert SERVED.read_text().startswith(f"/*! zmesh-realtime {__version__} | MIT */\n")

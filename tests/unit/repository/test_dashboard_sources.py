"""The files of the dashboard: small, with nothing that its policy forbids; vendored files are as made."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.http.pages import as_sent
from realtime.errors import Code
from tests.docs_fixture import ROOT, table

DASHBOARD = ROOT / "gateway" / "dashboard"
CLIENT = ROOT / "gateway" / "static" / "realtime.js"
VENDOR = DASHBOARD / "vendor"
TOOLS = ROOT / "tools" / "vendor"
OURS = sorted(path for path in DASHBOARD.rglob("*") if path.is_file() and VENDOR not in path.parents)
MOST_BYTES = 100_000  # of all files as they are sent, the client too
MOST_LINES = 300

FORBIDDEN = {
    "markup from text": r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|dangerouslySetInnerHTML",
    "code from text": r"\beval\(|new Function\(|\bFunction\(|setTimeout\(\s*[\"'`]",
    "an inline style": r"""\sstyle=["'$]""",
    "an inline handler": r"""\son[a-z]+=["']""",
    "another host": r"https?://(?!www\.w3\.org/2000/svg)",
}


def test_all_files_together_are_small() -> None:
    """What a browser loads; the licences stand beside it."""
    files = [path for path in DASHBOARD.rglob("*") if path.is_file() and path.suffix != ".txt"]
    sizes = {path: len(gzip.compress(as_sent(path), 9)) for path in (*files, CLIENT)}
    total = sum(sizes.values())
    print(f"{len(sizes)} files of the dashboard, {total:,} bytes compressed")  # noqa: T201
    assert len(sizes) > len(files) // 2 > 0
    assert total <= MOST_BYTES, sorted(sizes.items(), key=lambda one: -one[1])[:8]


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.relative_to(DASHBOARD).as_posix())
def test_a_file_is_short_and_keeps_to_the_policy(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    found = {what: re.findall(pattern, text) for what, pattern in FORBIDDEN.items()}
    assert not {what: where for what, where in found.items() if where}


def test_a_file_is_sent_without_its_comments_and_is_the_same_program(tmp_path: Path) -> None:
    scripts = [path for path in OURS if path.suffix in (".js", ".css")]
    for path in scripts:
        sent = tmp_path / path.relative_to(DASHBOARD)
        sent.parent.mkdir(exist_ok=True)
        sent.write_bytes(as_sent(path))
    assert sum(len(as_sent(path)) for path in scripts) < sum(path.stat().st_size for path in scripts)
    pairs = {path: tmp_path / path.relative_to(DASHBOARD) for path in scripts}
    minified = [_minified(list(one)) for one in (pairs.keys(), pairs.values())]
    assert minified[0] == minified[1]


def _minified(paths: list[Path]) -> list[str]:
    """Return the programs without comments and spaces between words; texts in them stay."""
    script = (
        "import { transform } from 'esbuild'; import { readFile } from 'node:fs/promises';"
        "const options = (path) => ({ loader: path.split('.').pop(), minifyWhitespace: true });"
        "const made = process.argv.slice(1).map(async (path) => "
        "(await transform(await readFile(path, 'utf8'), options(path))).code);"
        "console.log(JSON.stringify(await Promise.all(made)))"
    )
    command = [_node(), "--input-type=module", "--eval", script, *map(str, paths)]
    done = subprocess.run(command, check=True, timeout=120, capture_output=True, cwd=TOOLS)
    found: list[str] = json.loads(done.stdout)
    assert len(found) == len(paths)
    return found


def _node() -> str:
    """Return Node's program; skip where it or its packages are missing."""
    node = shutil.which("node")
    if node is None or not (TOOLS / "node_modules" / "esbuild").is_dir():
        why = "needs Node and its packages; call: make vendor"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    return node


@pytest.mark.parametrize("path", sorted(VENDOR.glob("*.js")), ids=lambda path: path.name)
def test_a_vendored_file_makes_no_code_from_text(path: Path) -> None:
    assert not re.search(FORBIDDEN["code from text"], path.read_text())


def test_each_vendored_file_names_the_packages_whose_licences_stand_beside_it() -> None:
    licences = (VENDOR / "LICENSES.txt").read_text()
    vendored = [*VENDOR.glob("*.js"), *VENDOR.glob("*.css")]
    assert vendored
    for path in vendored:
        (named,) = re.findall(r"^/\*! (.*): see LICENSES.txt \*/", path.read_text())
        for package in named.split(", "):
            assert f"\n{package}, in " in licences


def test_vendored_files_are_what_make_vendor_makes(tmp_path: Path) -> None:
    subprocess.run([_node(), TOOLS / "build.mjs", tmp_path], check=True, timeout=120)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in VENDOR.iterdir()}


def test_the_dashboard_explains_every_close_code_and_reason() -> None:
    text = (DASHBOARD / "closes.js").read_text()
    explained = {int(code) for code in re.findall(r"^    (\d{4}): ", text, re.MULTILINE)}
    documented = {
        int(code) for row in table("docs/operations.md", "Close codes") for code in row[0].split(", ")
    }
    assert documented <= explained
    reasons = set(re.findall(r"^    ([a-z_]+): \[", text, re.MULTILINE))
    assert set() < reasons <= {*Code, "node_lost", "disconnected"}

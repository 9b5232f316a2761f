"""The files of the dashboard: small, with nothing that its policy forbids; vendored files are as made."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

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
    files = [path for path in DASHBOARD.rglob("*") if path.is_file()]
    sizes = {path: len(gzip.compress(path.read_bytes(), 9)) for path in (*files, CLIENT) if path.is_file()}
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


@pytest.mark.parametrize("path", sorted(VENDOR.glob("*.js")), ids=lambda path: path.name)
def test_a_vendored_file_makes_no_code_from_text(path: Path) -> None:
    assert not re.search(FORBIDDEN["code from text"], path.read_text())


def test_each_vendored_file_names_the_packages_whose_licences_stand_beside_it() -> None:
    licences = (VENDOR / "LICENSES.txt").read_text()
    for path in (*VENDOR.glob("*.js"), *VENDOR.glob("*.css")):
        (named,) = re.findall(r"^/\*! (.*): see LICENSES.txt \*/", path.read_text())
        for package in named.split(", "):
            assert f"\n{package}, in " in licences


def test_vendored_files_are_what_make_vendor_makes(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None or not (TOOLS / "node_modules" / "esbuild").is_dir():
        why = "needs Node and its packages; call: make vendor"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    subprocess.run([node, TOOLS / "build.mjs", tmp_path], check=True, timeout=120)
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
    assert reasons <= {*Code, "node_lost", "disconnected"}

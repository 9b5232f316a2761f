"""What newcomers read agrees with the repository: paths, the map of the rooms, and what runs at a commit."""

from __future__ import annotations

import re
import shlex
import tomllib

import pytest

from tests.docs_fixture import ROOT, blocks, section, table, text_of

ARCHITECTURE = "docs/architecture.md"
ROOMS = {
    "gateway": "The gateway, from the top",
    "notifier": "The notifier, from the top",
    "realtime": "What both share, from the top",
}
TOP = {path.name for path in ROOT.iterdir()}


@pytest.mark.parametrize(
    "document", [ARCHITECTURE, "docs/how-it-works.md", "CONTRIBUTING.md", "SECURITY.md", "README.md"]
)
def test_paths_that_are_named_exist(document: str) -> None:
    paths = paths_in(document)
    assert paths or document in ("SECURITY.md", "README.md")
    assert [path for path in paths if not list(ROOT.glob(path))] == []


def paths_in(document: str) -> list[str]:
    """What stands between backticks and begins with something at the top of the repository."""
    words = re.findall(r"`([\w./*-]+)`", text_of(document))
    words += [word for block in blocks(document, "sh") for word in shlex.split(block.text, comments=True)]
    return [word.rstrip("/") for word in words if "/" in word and word.split("/")[0] in TOP]


def layers() -> dict[str, list[set[str]]]:
    """The layers of each package, from the top, as `pyproject.toml` has them."""
    contracts = tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    return {
        contract["containers"][0]: [set(re.split(r" [|:] ", layer)) for layer in contract["layers"]]
        for contract in contracts
        if contract["type"] == "layers"
    }


def test_every_package_has_layers() -> None:
    assert layers().keys() == ROOMS.keys()


@pytest.mark.parametrize("package", ROOMS)
def test_the_rooms_are_documented_in_the_order_of_their_layers(package: str) -> None:
    told = section(ARCHITECTURE, "What each room may know").partition(f"**{ROOMS[package]}**")[2]
    rows = re.findall(r"^\| (`.*?) \|", told.partition("\n**")[0], re.MULTILINE)
    assert [set(re.findall(r"`(\w+)`", row)) for row in rows] == layers()[package]


def test_the_map_has_every_room() -> None:
    (picture,) = blocks(ARCHITECTURE, "mermaid")
    drawn = dict(re.findall(r"subgraph (\w+).*?\n(.*?)\n    end", picture.text, re.DOTALL))
    for package in ("gateway", "notifier"):
        folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
        assert set(re.findall(r"^ +(\w+)\[", drawn[package], re.MULTILINE)) == folders


def test_a_commit_runs_the_tools_of_make_check() -> None:
    recipe = text_of("Makefile").partition("\ncheck: install\n")[2].partition("\n\n")[0]
    tools = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]
    hooks = re.findall(r"^ +entry: (.+)$", text_of(".pre-commit-config.yaml"), re.MULTILINE)
    assert hooks == [tool for tool in tools if "pytest" not in tool]
    assert hooks


MOST_FILES = 7


@pytest.mark.parametrize("feature", ["Filters", "Rights to rows", "A second wire protocol"])
def test_a_feature_on_paper_touches_few_files_that_exist(feature: str) -> None:
    files = [row[0] for row in table(ARCHITECTURE, feature)]
    assert 0 < len(files) <= MOST_FILES
    assert all((ROOT / file).is_file() for file in files)

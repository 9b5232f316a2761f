"""Measure the structure of the code: sizes, imports between rooms, cycles, and how much is typed as `Any`.

`make metrics` prints a table of this directory; `make metrics ARGS="../before ."` prints a column for each
directory that is named. Parses the files as text, and imports none of them. A room is a folder or a file that
lies directly in a package: what the layers in `pyproject.toml` name.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGES = ("realtime", "gateway", "notifier")
TESTS = "tests"
LONGEST_FILE, LONGEST_FUNCTION, MOST_ARGUMENTS = 300, 40, 5

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
Graph = Mapping[str, set[str]]


@dataclass(frozen=True)
class Module:
    """A source file: `name` is what an import calls it, `path` begins at the root."""

    name: str
    path: str
    lines: int
    tree: ast.Module

    @property
    def room(self) -> str:
        return ".".join(self.name.split(".")[:2])

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @cached_property
    def functions(self) -> list[FunctionNode]:
        return [node for node in self.nodes if isinstance(node, FunctionNode)]


class Code:
    """What is below a root: the modules of the packages, and how many lines of tests there are."""

    def __init__(self, root: Path) -> None:
        found = (
            _module(root, path) for package in PACKAGES for path in sorted((root / package).rglob("*.py"))
        )
        self.modules = {module.name: module for module in found}
        self.test_lines = sum(_lines(path.read_text()) for path in (root / TESTS).rglob("*.py"))

    @property
    def lines(self) -> int:
        return sum(module.lines for module in self.modules.values())

    @cached_property
    def module_imports(self) -> Graph:
        return {name: set(_imports(module, self.modules)) for name, module in self.modules.items()}

    @cached_property
    def room_imports(self) -> Graph:
        rooms: dict[str, set[str]] = {module.room: set() for module in self.modules.values()}
        for name, imported in self.module_imports.items():
            room = self.modules[name].room
            rooms[room] |= {self.modules[other].room for other in imported} - {room}
        return rooms

    def folders(self) -> dict[str, tuple[int, int]]:
        """Return files and lines of each folder."""
        found: dict[str, tuple[int, int]] = {}
        for module in self.modules.values():
            files, lines = found.get(module.folder, (0, 0))
            found[module.folder] = (files + 1, lines + module.lines)
        return found


def main(arguments: Sequence[str]) -> None:
    codes = [Code(Path(argument)) for argument in arguments or (".",)]
    _print_row("", *(arguments or ("now",)))
    _print_row(*("---" for _ in range(len(codes) + 1)))
    for what, measure in MEASURES.items():
        _print_row(what, *map(measure, codes))
    folders = [code.folders() for code in codes]
    for folder in sorted(set().union(*folders)):
        _print_row(
            f"{folder}/: files, lines", *(_pair(*one[folder]) if folder in one else "" for one in folders)
        )


def _print_row(*cells: str) -> None:
    print("|", " | ".join(cells), "|")


def _pair(first: int, second: int) -> str:
    return f"{first:,}, {second:,}"


def _module(root: Path, path: Path) -> Module:
    text = path.read_text()
    where = path.relative_to(root)
    name = ".".join(where.with_suffix("").parts).removesuffix(".__init__")
    return Module(name, str(where), _lines(text), ast.parse(text))


def _lines(text: str) -> int:
    return text.count("\n")


def _imports(module: Module, modules: Mapping[str, Module]) -> Iterator[str]:
    """Yield the modules of ours that a module imports, at its top or within a function."""
    for node in module.nodes:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in modules else node.module for name in whole]
        yield from (name for name in names if name in modules and name != module.name)


def _length(function: FunctionNode) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def longest_file(code: Code) -> str:
    module = max(code.modules.values(), key=lambda one: one.lines)
    return f"{module.path}, {module.lines}"


def longest_function(code: Code) -> str:
    found = ((module, function) for module in code.modules.values() for function in module.functions)
    module, function = max(found, key=lambda one: _length(one[1]))
    return f"{function.name} in {module.path}, {_length(function)}"


def _constructors(code: Code) -> Iterator[tuple[str, int]]:
    """Yield each class that has an `__init__`, with the number of its arguments beside `self`."""
    for module in code.modules.values():
        for node in module.nodes:
            if isinstance(node, ast.ClassDef):
                for function in node.body:
                    if isinstance(function, FunctionNode) and function.name == "__init__":
                        yield f"{node.name} in {module.path}", len(list(_arguments(function))) - 1


def most_arguments(code: Code) -> str:
    name, count = max(_constructors(code), key=lambda one: one[1])
    return f"{name}, {count}"


def _arguments(function: FunctionNode) -> Iterator[ast.arg]:
    arguments = function.args
    every = (
        *arguments.posonlyargs,
        *arguments.args,
        arguments.vararg,
        *arguments.kwonlyargs,
        arguments.kwarg,
    )
    return (one for one in every if one is not None)


def signatures_with_any(code: Code) -> str:
    every = [function for module in code.modules.values() for function in module.functions]
    return f"{sum(map(_mentions_any, every))} of {len(every):,}"


def _mentions_any(function: FunctionNode) -> bool:
    annotations = [*(one.annotation for one in _arguments(function)), function.returns]
    nodes = (node for one in annotations if one is not None for node in ast.walk(one))
    return any(isinstance(node, ast.Name) and node.id == "Any" for node in nodes)


def _edges(graph: Graph) -> str:
    return _pair(len(graph), sum(map(len, graph.values())))


def cycles(graph: Graph) -> list[frozenset[str]]:
    """Return each group of two and more that reach each other."""
    reached = {node: _reached_from(graph, node) for node in graph}
    groups = {frozenset(other for other in reached[node] if node in reached[other]) for node in graph}
    return sorted((group for group in groups if len(group) > 1), key=sorted)


def _reached_from(graph: Graph, start: str) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - reached
        reached |= new
        waiting += new
    return reached


def floors(graph: Graph) -> int:
    """Return how many nodes the longest way down has; 0 where a cycle makes it endless."""
    if cycles(graph):
        return 0
    heights: dict[str, int] = {}

    def height(node: str) -> int:
        if node not in heights:
            heights[node] = 1 + max(map(height, graph[node]), default=0)
        return heights[node]

    return max(map(height, graph), default=0)


def _within(graph: Graph, package: str) -> Graph:
    """Return the part of a graph that lies in one package."""
    inside = {node for node in graph if node.startswith(f"{package}.")}
    return {node: graph[node] & inside for node in inside}


def _over(counts: Iterable[int], limit: int) -> str:
    return str(sum(count > limit for count in counts))


MEASURES: dict[str, Callable[[Code], str]] = {
    "source: files, lines": lambda code: _pair(len(code.modules), code.lines),
    "lines of tests for a line of source": lambda code: f"{code.test_lines / code.lines:.2f}",
    "longest file, lines": longest_file,
    f"files over {LONGEST_FILE} lines": lambda code: _over(
        (module.lines for module in code.modules.values()), LONGEST_FILE
    ),
    "longest function, lines": longest_function,
    f"functions over {LONGEST_FUNCTION} lines": lambda code: _over(
        (_length(one) for module in code.modules.values() for one in module.functions), LONGEST_FUNCTION
    ),
    "most arguments of a constructor": most_arguments,
    f"constructors over {MOST_ARGUMENTS} arguments": lambda code: _over(
        (count for _, count in _constructors(code)), MOST_ARGUMENTS
    ),
    "signatures with Any": signatures_with_any,
    "imports between modules": lambda code: str(sum(map(len, code.module_imports.values()))),
    "cycles of modules": lambda code: str(len(cycles(code.module_imports))),
    "rooms, imports between them": lambda code: _edges(code.room_imports),
    "cycles of rooms": lambda code: str(len(cycles(code.room_imports))),
} | {
    f"{package}: rooms, imports between them, floors": lambda code, package=package: (
        f"{_edges(_within(code.room_imports, package))}, {floors(_within(code.room_imports, package))}"
    )
    for package in PACKAGES
}


if __name__ == "__main__":
    main(sys.argv[1:])

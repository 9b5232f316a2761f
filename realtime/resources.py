"""Read the text files that are installed with a package: SQL, Lua."""

from __future__ import annotations

from importlib.resources import files


def packaged_text(package: str, path: str) -> str:
    """Return the text of a file that is installed with a package; `path` is relative to the package.

    >>> packaged_text("realtime.postgres", "sql/backlog.sql")
    """
    return files(package).joinpath(path).read_text()

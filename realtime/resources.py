"""Text files that belong to a package: SQL, Lua."""

from __future__ import annotations

from importlib.resources import files


def packaged_text(package: str, path: str) -> str:
    """Return the text of a file that is installed with a package, by its path below it.

    >>> packaged_text("realtime.postgres", "sql/backlog.sql")
    """
    return files(package).joinpath(path).read_text()

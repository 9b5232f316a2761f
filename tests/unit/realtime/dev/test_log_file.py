"""The log of `realtime dev` as a file: private, bounded, and in nobody's way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from realtime.dev.log_file import NAME, LogFile


def test_only_the_owner_may_read_it_and_the_former_one_is_kept(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text("former")
    path.chmod(0o644)
    file = LogFile(path)
    file.write(b"new")
    file.close()
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / f"{NAME}.1").read_text() == "former"


def test_nothing_is_touched_before_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text("of another process")
    LogFile(path).close()
    assert path.read_text() == "of another process"
    assert [*tmp_path.iterdir()] == [path]


def test_a_file_that_cannot_be_made_loses_lines_and_nothing_else(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "missing" / NAME)
    file.write(b"lost")
    (tmp_path / "missing").mkdir()
    file.write(b"kept")
    file.close()
    assert (tmp_path / "missing" / NAME).read_text() == "kept"


def test_it_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / NAME
    file = LogFile(path, max_bytes=1_000)
    for number in range(100):
        file.write(f"{number:99}\n".encode())
    file.close()
    sizes = [one.stat().st_size for one in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= 1_000
    assert path.read_text().split()[-1] == "99"


def test_a_link_of_its_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("kept")
    (tmp_path / NAME).symlink_to(tmp_path / "other")
    file = LogFile(tmp_path / NAME)
    file.write(b"new")
    file.close()
    assert (tmp_path / "other").read_text() == "kept"


PROGRAM = """
import os, subprocess, sys
from pathlib import Path
from realtime.dev.log_file import log_to_file

lines = []
def on_line(line):
    lines.append(line)
    raise ValueError("a line that cannot be shown")

with log_to_file(Path(sys.argv[1]), on_line):
    os.write(2, b"ours\\n")
    subprocess.run([sys.executable, "-c", "import os; os.write(2, b'of a child\\\\n' + b'x' * 200000)"])
    os.write(2, b"\\nlast")
os.write(2, repr([line[-20:] for line in lines]).encode())
"""


def test_it_has_what_this_process_and_its_children_write_to_standard_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])},
    )
    text = (tmp_path / NAME).read_bytes()
    assert text == b"ours\nof a child\n" + b"x" * 200_000 + b"\nlast"
    assert done.stderr == repr([b"ours", b"of a child", b"x" * 20]).encode()

"""Ports for what tests start later: no two that run at once get the same."""

from __future__ import annotations

import socket
import subprocess
import sys
from itertools import pairwise

from tests.docs_fixture import ROOT
from tests.ports import IN_A_ROW, LANES, free_port, free_ports

ASK = "from tests.ports import free_port; print(free_port())"


def lane_of(port: int) -> int:
    return (port - LANES.start) // LANES.step


def test_each_is_another_one_with_those_after_it() -> None:
    found = sorted(free_ports(100))
    assert all(later - earlier >= IN_A_ROW for earlier, later in pairwise(found))


def test_one_that_somebody_listens_on_is_left_out() -> None:
    expected = free_port() + IN_A_ROW
    with socket.create_server(("127.0.0.1", expected + IN_A_ROW - 1)):
        assert free_port() != expected


def test_another_process_chooses_among_others() -> None:
    asked = subprocess.run([sys.executable, "-c", ASK], cwd=ROOT, capture_output=True, text=True, check=True)
    assert lane_of(int(asked.stdout)) != lane_of(free_port())

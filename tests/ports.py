"""Ports of the loopback address for what a test starts later, so that nobody else takes them meanwhile.

They lie below those that the system gives to outgoing connections, and each process that runs tests has a
lane of them for itself. It holds the lane by the UDP port of its first number, until it ends.
"""

from __future__ import annotations

import itertools
import random
import socket
from collections.abc import Iterator
from functools import cache

from realtime.dev import directory as files

LANES = range(12_000, 32_000, 1_000)
IN_A_ROW = 4  # a command with several nodes or workers uses the ports after its first one, too


def free_port() -> int:
    """Choose a port that nobody listens on, and whose next ones are free too; another one each time."""
    return next(port for port in _lane() if all(map(files.is_free, range(port, port + IN_A_ROW))))


def free_ports(count: int) -> list[int]:
    return [free_port() for _ in range(count)]


@cache
def _lane() -> Iterator[int]:
    """Find a lane that no other process has; its ports in turn, so that one comes again as late as can be."""
    for first in random.sample(LANES, len(LANES)):
        if _is_held(first):
            return itertools.cycle(range(first + IN_A_ROW, first + LANES.step - IN_A_ROW, IN_A_ROW))
    raise AssertionError("other processes have all lanes of ports")


def _is_held(first: int) -> bool:
    """Whether the lane is ours from here on."""
    claim = socket.socket(type=socket.SOCK_DGRAM)
    try:
        claim.bind((files.HOST, first))
    except OSError:
        claim.close()
        return False
    claim.detach()  # nobody closes it: it ends with the process
    return True

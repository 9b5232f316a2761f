"""How much memory a process may take, by what the system says of its control groups and of the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from realtime.errors import SettingError
from realtime.process.memory_limit import (
    LEAST_BYTES,
    MOST_BYTES,
    SHARE,
    UNKNOWN_BYTES,
    default_budget,
    memory_limit,
    share_budget,
)
from realtime.settings.config import Settings, load

MIB = 1024 * 1024
NONE_OF_V1 = 9_223_372_036_854_771_712
V1, V2 = "sys/fs/cgroup/memory", "sys/fs/cgroup"


def system(root: Path, files: dict[str, object]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


MACHINE = {"proc/meminfo": f"MemFree:  17 kB\nMemTotal:       {8_192 * 1024} kB\nBuffers: 5 kB"}
OF_V2 = {**MACHINE, "proc/self/cgroup": "0::/pods/one"}
OF_V1 = {**MACHINE, "proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/docker/abc\n0::/"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({**OF_V2, f"{V2}/pods/one/memory.max": 512 * MIB}, 512),
        ({**OF_V2, f"{V2}/pods/one/memory.max": "max", f"{V2}/pods/memory.max": 300 * MIB}, 300),
        ({**OF_V2, f"{V2}/pods/one/memory.max": 512 * MIB, f"{V2}/pods/memory.max": 300 * MIB}, 300),
        ({**OF_V2, f"{V2}/pods/one/memory.max": 512 * MIB, f"{V2}/pods/one/memory.high": 400 * MIB}, 400),
        ({**OF_V2, f"{V2}/pods/one/memory.max": "max", f"{V2}/pods/memory.max": "max"}, 8_192),
        ({**OF_V2, f"{V2}/memory.max": 256 * MIB}, 256),  # in a container that has its group for a root
        ({**OF_V2, f"{V2}/unified/pods/one/memory.max": 128 * MIB}, 128),
        ({**OF_V1, f"{V1}/docker/abc/memory.limit_in_bytes": 200 * MIB}, 200),
        (
            {
                **OF_V1,
                f"{V1}/docker/abc/memory.limit_in_bytes": NONE_OF_V1,
                f"{V1}/docker/memory.limit_in_bytes": 150 * MIB,
            },
            150,
        ),
        ({**OF_V1, f"{V1}/memory.limit_in_bytes": 100 * MIB}, 100),
        ({**OF_V1, f"{V1}/docker/abc/memory.limit_in_bytes": NONE_OF_V1}, 8_192),
        (MACHINE, 8_192),
        ({**MACHINE, "proc/self/cgroup": "0::/../../elsewhere", f"{V2}/memory.max": 64 * MIB}, 64),
    ],
)
def test_the_limit_is_the_least_of_all_that_hold(tmp_path, files, expected):
    assert memory_limit(system(tmp_path, files)) == expected * MIB


def test_a_system_that_tells_nothing_has_a_default(tmp_path):
    assert memory_limit(tmp_path) == UNKNOWN_BYTES


def test_this_system_tells_something():
    assert LEAST_BYTES < memory_limit() < 2**50


@pytest.mark.parametrize(
    ("limit", "processes", "expected"),
    [
        (1_024 * MIB, 1, 1_024 * MIB // SHARE),
        (1_024 * MIB, 4, 1_024 * MIB // SHARE // 4),
        (32 * MIB, 8, LEAST_BYTES),
        (512 * 1_024 * MIB, 1, MOST_BYTES),
    ],
)
def test_the_budget_is_a_share_for_each_process(tmp_path, limit, processes, expected):
    root = system(tmp_path, {"proc/self/cgroup": "0::/", f"{V2}/memory.max": limit})
    assert default_budget(processes, root) == expected


def test_processes_that_share_the_memory_share_the_budget(monkeypatch):
    monkeypatch.setenv("REALTIME_QUEUE_BUDGET_BYTES", "")
    share_budget(Settings(), 3)
    assert load("", {"REALTIME_QUEUE_BUDGET_BYTES": os.environ["REALTIME_QUEUE_BUDGET_BYTES"]}) == Settings(
        queue_budget_bytes=default_budget(3)
    )


def test_a_budget_that_is_given_is_that_of_each_process(monkeypatch):
    monkeypatch.delenv("REALTIME_QUEUE_BUDGET_BYTES", raising=False)
    share_budget(Settings(queue_budget_bytes=LEAST_BYTES), 3)
    assert "REALTIME_QUEUE_BUDGET_BYTES" not in os.environ


@pytest.mark.parametrize(
    ("text", "fine"), [("0", True), (str(LEAST_BYTES), True), ("1", False), ("-1", False)]
)
def test_a_budget_is_given_or_left_to_the_program(text, fine):
    if fine:
        assert load(f"queue_budget_bytes = {text}", {}).queue_budget_bytes == int(text)
    else:
        with pytest.raises(SettingError) as caught:
            load(f"queue_budget_bytes = {text}", {})
        assert caught.value.setting == "queue_budget_bytes"

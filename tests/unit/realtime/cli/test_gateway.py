"""The commands by which `realtime gateway --workers` starts its workers."""

from __future__ import annotations

from pathlib import Path

from realtime.cli.gateway import _worker_command, gateway


def test_workers_share_a_port_and_have_an_internal_port_each() -> None:
    for number in (0, 1):
        name, *words = _worker_command(Path("a.toml"), "::1", 8001, 9000, number)
        assert name == gateway.name
        assert gateway.make_context(name, words).params == {
            "config": Path("a.toml"),
            "host": "::1",
            "port": 8001,
            "internal_port": 9000 + number,
            "workers": 1,
            "reuse_port": True,
        }


def test_a_worker_gets_only_what_was_given() -> None:
    assert _worker_command(None, "::1", 8001, None, 1) == [
        *("gateway", "--host", "::1", "--port", "8001", "--reuse-port")
    ]

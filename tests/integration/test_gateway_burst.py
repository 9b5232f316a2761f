"""One statement of 100,000 rows through a real notifier and a real gateway process to ten subscribers."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from contextlib import AsyncExitStack

import aiohttp

from tests.acceptance.programs import memory_mib, running
from tests.gateway_fixture import SECRET, Gateway, eventually, settings_for, token_for
from tests.ports import free_port
from tests.raw_socket import TEXT, frame, raw_socket

ROWS = 100_000
SUBSCRIBERS = 10
MOST_GROWTH_MIB = 150
ROW = re.compile(rb'"data":\{"id": ?(\d+)[^}]*\},"old":null,"commit_timestamp":"[^"]*","id":"[^"]*"\}')


async def hear_all(raw) -> None:
    """Read every row, which must come in order and once; frames are not unpacked, there are a million."""
    expected, rest = 1, b""
    while expected <= ROWS:
        data = await asyncio.wait_for(raw.reader.read(2**20), 60)
        assert data, "the gateway closed the connection"
        rest += data
        end = 0
        for match in ROW.finditer(rest):
            assert int(match[1]) == expected
            expected, end = expected + 1, match.end()
        rest = rest[end:]
    raw.send(frame(TEXT, b'{"type":"ping","ref":"end"}'))
    _, answer = await raw.frame()
    assert b'"ref":"end"' in answer


async def test_100_000_rows_of_one_statement_reach_ten_subscribers_in_order_once_each(
    database_url, redis_url, sql, tmp_path
):
    config, port = tmp_path / "realtime.toml", free_port()
    config.write_text(
        f'redis_url = "{redis_url}"\ndrain_seconds = 0\n'
        f'[projects.demo]\ndatabase_url = "{database_url}"\njwt_secret = "{SECRET}"\n'
    )
    serve = ("gateway", "--config", config, "--host", "127.0.0.1", "--port", port)
    async with (
        running(*serve, directory=tmp_path) as program,
        running("notifier", "--config", config, directory=tmp_path) as feed,
        aiohttp.ClientSession() as http,
        AsyncExitStack() as stack,
    ):
        gateway = Gateway(settings_for(database_url, redis_url), port, http)
        await eventually(lambda: is_live(gateway))
        await gateway.enable("orders")
        subscribers = [await stack.enter_async_context(raw_socket(gateway)) for _ in range(SUBSCRIBERS)]
        for raw in subscribers:
            raw.send(frame(TEXT, b'{"type":"subscribe","channel":"table:orders"}'))
            assert b'"enabled":true' in await raw.text()
        before, started = memory_mib(program.pid, "VmRSS"), time.monotonic()
        hearing = [asyncio.create_task(hear_all(raw)) for raw in subscribers]
        await sql.execute(f"insert into orders select n, 'row ' || n from generate_series(1, {ROWS}) n")
        committed = time.monotonic() - started
        await asyncio.gather(*hearing)
        took, peak = time.monotonic() - started, memory_mib(program.pid)
    sys.stdout.write(
        f"\n{ROWS} rows x {SUBSCRIBERS}: committed after {committed:.2f} s, all heard after {took:.2f} s;"
        f" gateway {before:.0f} MiB before, {peak:.0f} MiB at most\n"
    )
    assert peak - before < MOST_GROWTH_MIB
    for one in (program, feed):
        assert [line for line in one.log if line["level"] == "error"] == []


async def is_live(gateway: Gateway) -> bool:
    try:
        _, status, _ = await gateway.rest("GET", "/status", token_for(role="service_role"))
    except aiohttp.ClientConnectionError:
        return False
    return status["notifier"]["status"] == "live"

"""A client that did not keep up, through the whole path: closed, while another misses nothing, and back."""

from __future__ import annotations

import json

import aiohttp

from realtime.settings.config import Settings
from tests.acceptance.conftest import Stage
from tests.acceptance.programs import client_of, psql
from tests.acceptance.served import get, served
from tests.gateway_fixture import Gateway, eventually, token_for
from tests.ports import free_port
from tests.raw_socket import CLOSE, TEXT, RawSocket, frame, raw_socket

ROWS, ROW_BYTES = 8_000, 1_000  # more than the kernel keeps on its way to a client
IMPATIENT = ("[projects.demo.limits]", "max_queue_bytes = 65536", "slow_consumer_seconds = 2")


async def test_a_slow_client_that_was_closed_gets_the_rest_when_it_comes_back(messages: Stage) -> None:
    messages.write(project=IMPATIENT)
    internal = free_port()
    async with (
        served(messages, "--internal-port", internal) as parts,
        aiohttp.ClientSession() as http,
        client_of(parts.url, token_for()) as other,
    ):
        node = Gateway(Settings(), parts.ports[0], http)
        async with raw_socket(node, receive_bytes=4_096) as lazy:
            await other.subscribe("table:messages")
            lazy.send(frame(TEXT, b'{"type":"subscribe","channel":"table:messages"}'))
            assert b'"subscribed"' in (await lazy.frame())[1]
            rows = f"select repeat('x', {ROW_BYTES}) from generate_series(1, {ROWS})"
            await psql(messages.database_url, f"insert into messages (body) {rows}")
            assert await other.hear_rows(ROWS) == list(range(1, ROWS + 1))
            await eventually(lambda: has_parted_from_one(internal))
            heard, since, end = await hear_to_the_end(lazy)
        assert end == ("slow_consumer", 4413)
        assert 0 < len(heard) < ROWS
        async with client_of(parts.url, token_for()) as back:
            assert (await back.subscribe("table:messages", since=since))["recovered"] is True
            heard += await back.hear_rows(ROWS - len(heard))
            assert heard == list(range(1, ROWS + 1))


async def has_parted_from_one(internal_port: int) -> bool:
    _, figures = await get(f"http://127.0.0.1:{internal_port}/metrics")
    return "realtime_gateway_slow_consumers_total 1.0" in figures


async def hear_to_the_end(raw: RawSocket) -> tuple[list[int], str, tuple[str, int]]:
    """The rows that came, the id of the last one, and the codes of the error and of the close."""
    rows: list[int] = []
    since = error = ""
    while True:
        opcode, payload = await raw.frame()
        if opcode == CLOSE:
            return rows, since, (error, int.from_bytes(payload[:2], "big"))
        if opcode == TEXT:
            message = json.loads(payload)
            if message["type"] == "realtime":
                rows.append(message["data"]["id"])
                since = message["id"]
            else:
                error = message["code"]

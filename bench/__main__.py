"""What `make bench` runs: every measurement, with the settings of the command line, one line a figure."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench import (
    bulk,
    capture,
    connections,
    end_to_end,
    fanout,
    frames,
    hygiene,
    latency,
    machine,
    publish,
    recovery,
    shares,
)
from bench.figures import Figure, as_json
from bench.socketio import measurement
from bench.stage import stage

FANOUT_SECONDS = 2  # of each rate and round


def main() -> None:
    arguments = parser().parse_args()
    # The databases' sudden end in the end is not news.
    logging.disable(logging.WARNING)
    try:
        asyncio.run(_run(arguments))
    except KeyboardInterrupt:
        raise SystemExit("interrupted") from None


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=MEASUREMENTS, help="one of the measurements")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file as well")
    parser.add_argument("--seconds", type=int, default=5, help="of one run of pgbench")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is told")
    parser.add_argument("--clients", type=int, default=16, help="of pgbench")
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000], help="of one statement")
    parser.add_argument("--subscribers", type=int, default=500, help="of the fan-out, and of crowds")
    parser.add_argument("--rates", type=int, nargs="*", default=[100, 500, 2_000], help="of changes a second")
    parser.add_argument("--idle", type=int, nargs="*", default=[2_000, 4_000], help="clients that sit there")
    parser.add_argument("--lone", type=int, nargs="*", default=[5, 50, 300], help="commits/s, 1 subscriber")
    parser.add_argument("--crowded", type=int, nargs="*", default=[1_000, 5_000], help="commits/s, a crowd")
    parser.add_argument("--returning", type=int, default=1_000, help="clients that come back at once")
    parser.add_argument("--missed", type=int, default=500, help="changes that each of them missed")
    parser.add_argument("--chatting", type=int, default=1_000, help="subscribers of Socket.IO and beside it")
    parser.add_argument(
        "--messages", type=int, nargs="*", default=[100, 500], help="a second, to all of them"
    )
    return parser


async def _run(arguments: argparse.Namespace) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):  # they end a run as Ctrl-C does, with all that it started
        asyncio.get_running_loop().add_signal_handler(number, signal.raise_signal, signal.SIGINT)
    found: dict[str, list[Figure]] = {}
    about = await machine.about()
    for name in MEASUREMENTS if arguments.only is None else (arguments.only,):
        found[name] = await MEASUREMENTS[name](arguments)
        if arguments.json is not None:  # after each, so that one that fails takes no figures with it
            arguments.json.write_text(as_json(found, about))


async def _capture(arguments: argparse.Namespace) -> list[Figure]:
    async with stage() as ready:
        return await capture.measure(ready, arguments.seconds, arguments.rounds, arguments.clients)


async def _bulk(arguments: argparse.Namespace) -> list[Figure]:
    async with stage() as ready:
        return [figure for rows in arguments.rows for figure in await bulk.measure(ready, rows)]


MEASUREMENTS: dict[str, Callable[[argparse.Namespace], Awaitable[list[Figure]]]] = {
    "capture": _capture,
    "bulk": _bulk,
    "hygiene": lambda given: hygiene.measure(),
    "fanout": lambda given: fanout.measure(given.subscribers, given.rates, FANOUT_SECONDS, given.rounds),
    "connections": lambda given: connections.measure(given.idle, given.rounds),
    "frames": lambda given: frames.measure(given.rounds),
    "shares": lambda given: shares.measure(given.rounds),
    "latency": lambda given: latency.measure(given.lone, given.crowded, given.subscribers, given.rounds),
    "recovery": lambda given: recovery.measure(given.returning, given.missed, given.rounds),
    "publish": lambda given: publish.measure(given.rounds),
    "socketio": lambda given: measurement.measure(given.chatting, given.messages, given.rounds),
    "end-to-end": lambda given: end_to_end.measure(given.subscribers, given.rounds),
}

if __name__ == "__main__":
    main()

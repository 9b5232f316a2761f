"""What `make bench` runs: every measurement, with the settings of the command line, one line a figure."""

from __future__ import annotations

import argparse
import asyncio
import logging

from bench import bulk, capture, connections, fanout, frames, hygiene
from bench.stage import stage

MEASUREMENTS = ("capture", "bulk", "hygiene", "fanout", "connections", "frames")
FANOUT_SECONDS = 2  # of each rate and round


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=MEASUREMENTS, help="one of the measurements")
    parser.add_argument("--seconds", type=int, default=5, help="of one run of pgbench")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is told")
    parser.add_argument("--clients", type=int, default=16, help="of pgbench")
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000], help="of one statement")
    parser.add_argument("--subscribers", type=int, default=500, help="of the fan-out")
    parser.add_argument("--rates", type=int, nargs="*", default=[100, 500, 2_000], help="of changes a second")
    parser.add_argument("--idle", type=int, nargs="*", default=[2_000, 4_000], help="clients that sit there")
    arguments = parser.parse_args()
    # The databases' sudden end in the end is not news.
    logging.disable(logging.WARNING)
    asyncio.run(_run(arguments))


async def _run(arguments: argparse.Namespace) -> None:
    chosen = MEASUREMENTS if arguments.only is None else (arguments.only,)
    if "capture" in chosen or "bulk" in chosen:
        async with stage() as ready:
            if "capture" in chosen:
                await capture.measure(ready, arguments.seconds, arguments.rounds, arguments.clients)
            if "bulk" in chosen:
                for rows in arguments.rows:
                    await bulk.measure(ready, rows)
    if "hygiene" in chosen:
        await hygiene.measure()
    if "fanout" in chosen:
        await fanout.measure(arguments.subscribers, arguments.rates, FANOUT_SECONDS, arguments.rounds)
    if "connections" in chosen:
        await connections.measure(arguments.idle, arguments.rounds)
    if "frames" in chosen:
        await frames.measure(arguments.rounds)


main()

"""What `make bench` runs: every measurement, with the settings of the command line, one line a figure."""

from __future__ import annotations

import argparse
import asyncio
import logging

from bench import bulk, capture, fanout
from bench.stage import stage

FANOUT_SECONDS = 2  # of each rate and round


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=["capture", "bulk", "fanout"], help="one of the measurements")
    parser.add_argument("--seconds", type=int, default=5, help="of one run of pgbench")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is told")
    parser.add_argument("--clients", type=int, default=16, help="of pgbench")
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000], help="of one statement")
    parser.add_argument("--subscribers", type=int, default=500, help="of the fan-out")
    parser.add_argument("--rates", type=int, nargs="*", default=[100, 500, 2_000], help="of changes a second")
    arguments = parser.parse_args()
    # The databases' sudden end in the end is not news.
    logging.disable(logging.WARNING)
    asyncio.run(_run(arguments))


async def _run(arguments: argparse.Namespace) -> None:
    only = arguments.only
    if only != "fanout":
        async with stage() as ready:
            if only != "bulk":
                await capture.measure(ready, arguments.seconds, arguments.rounds, arguments.clients)
            if only != "capture":
                for rows in arguments.rows:
                    await bulk.measure(ready, rows)
    if only in (None, "fanout"):
        await fanout.measure(arguments.subscribers, arguments.rates, FANOUT_SECONDS, arguments.rounds)


main()

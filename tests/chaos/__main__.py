"""The command behind `make chaos`: start the stage, load and faults, and print the referee's verdict.

Prints each fault when it starts, and the counts at the end. If a guarantee was violated, the exit status is
1, the seed is printed with each violation, and the logs are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from time import monotonic

from tests.chaos.faults import KINDS
from tests.chaos.load import Load
from tests.chaos.referee import BROKEN, Referee
from tests.chaos.sabotage import EDITS, sabotaged
from tests.chaos.stage import staged
from tests.chaos.storm import Storm, matching

SETTLE_SECONDS = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of all that is random")
    parser.add_argument("--minutes", type=float, default=1, help="of faults")
    parser.add_argument("--redis", choices=list(KINDS), default="standalone", help="which kind of it")
    parser.add_argument(
        "--min-replicas", type=int, default=0, help="without which a primary takes nothing; not standalone"
    )
    parser.add_argument("--at-least", type=int, default=0, help="so many faults, however long that takes")
    parser.add_argument("--faults", default="*", help="kinds, like notifier-*, with commas between; all")
    parser.add_argument("--sabotage", choices=list(EDITS), help="run a service that is broken this way")
    parser.add_argument(
        "--settle", type=float, default=SETTLE_SECONDS, help="seconds to have everything, once all is healed"
    )
    parser.add_argument("--subscribers", type=int, default=8)
    parser.add_argument("--writers", type=int, default=4)
    arguments = parser.parse_args()
    try:
        arguments.faults = matching(arguments.faults.split(","), KINDS[arguments.redis])
    except ValueError as error:
        parser.error(str(error))
    directory = Path(tempfile.mkdtemp(prefix="realtime-chaos-"))
    # Servers that do not run as root must be able to enter the directory.
    directory.chmod(0o711)
    violated = True
    try:
        violated = asyncio.run(_run(arguments, directory))
    finally:
        if violated:
            _say(f"logs are kept in {directory}")
        else:
            shutil.rmtree(directory)
    sys.exit(violated)


async def _run(arguments: argparse.Namespace, directory: Path) -> bool:
    """Run once; return whether a guarantee was violated."""
    seed, started = arguments.seed, monotonic()
    source = sabotaged(arguments.sabotage, directory) if arguments.sabotage else None
    referee = Referee(seed)

    def say(words: str) -> None:
        _say(f"{monotonic() - started:7.1f} s  {words}")

    def struck(kind: str, words: str) -> None:
        referee.fault(kind)
        say(f"{kind}: {words}")

    async with staged(directory, arguments.redis, arguments.min_replicas, source) as stage:
        load = Load(stage, referee, seed, arguments.subscribers, arguments.writers)
        await load.prepare()
        stage.before_restore, stage.after_restore = load.disturbed, load.restored
        stage.redis.before_division, stage.redis.after_division = load.divided, load.united
        say("the load begins")
        async with load.running():
            storm = Storm(stage, seed, arguments.faults, struck)
            await storm.blow(arguments.minutes * 60, arguments.at_least)
            say("all is healed, the writers stop")
            await load.settle(arguments.settle)
        say("the end")
    for complaint in stage.complaints:
        referee.violation(BROKEN, "processes", complaint)
    _say(referee.report())
    return not referee.is_content


def _say(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - its output is its purpose


if __name__ == "__main__":
    main()

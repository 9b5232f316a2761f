"""The kinds of faults that may strike the stage: a table of functions, each of which draws a fault.

A fault has a description with its duration, and the parts that it concerns. Everything random is drawn before
a fault starts, so that a seed gives the same faults; only which notifier leads at that moment does not depend
on the seed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from random import Random

from tests.chaos.bundle import Way
from tests.chaos.fault import POSTGRES, Draw, Fault, fault_of
from tests.chaos.link import Silence
from tests.chaos.process import Process
from tests.chaos.redis_faults import CLUSTER, PAIR, SENTINEL
from tests.chaos.stage import PRESENCE_TTL_SECONDS, Stage

LEADER = 0.7  # how often a fault strikes the notifier that leads
LONG_HOLE_SECONDS = 12.0  # longer than any timeout of the service


def _killed(process: Process, link: Way, dice: Random) -> Fault:
    """Kill a process; half of the time, delay `link` before, so that answers of Redis do not arrive."""
    pause, late = dice.uniform(0, 3), dice.choice((0.0, dice.uniform(0.05, 0.3)))

    async def carry_out() -> None:
        link.delay(late)
        await asyncio.sleep(2 * late)
        await process.kill()
        link.heal()
        await asyncio.sleep(pause)
        await process.start()

    words = f"{process.name} killed{_awaiting(late)}, back after {pause:.1f} s"
    return Fault(words, frozenset({process.name, link.name}), carry_out)


def _awaiting(late: float) -> str:
    return f" awaiting an answer that is {late * 1000:.0f} ms late" if late else ""


def _stopped(process: Process, dice: Random) -> Fault:
    pause = dice.uniform(0, 3)

    async def carry_out() -> None:
        await process.stop()
        await asyncio.sleep(pause)
        await process.start()

    return fault_of(process.name, f"{process.name} told to stop, back after {pause:.1f} s", carry_out)


def _frozen(process: Process, seconds: float) -> Fault:
    async def carry_out() -> None:
        process.freeze()
        try:
            await asyncio.sleep(seconds)
        finally:
            process.thaw()

    return fault_of(process.name, f"{process.name} frozen for {seconds:.1f} s", carry_out)


def _cut(link: Way, dice: Random) -> Fault:
    """Cut connections, once or several times within two seconds; half of the time, delay them before."""
    pauses = [0.0, *(dice.uniform(0.1, 1) for _ in range(dice.choice((0, 0, 1, 3))))]
    late = dice.choice((0.0, dice.uniform(0.05, 0.3)))

    async def carry_out() -> None:
        for pause in pauses:
            await asyncio.sleep(pause)
            link.delay(late)
            await asyncio.sleep(2 * late)
            link.cut()
            link.heal()

    return fault_of(link.name, f"{link.name} cut{_awaiting(late)}, {len(pauses)} times", carry_out)


def _silent(link: Way, dice: Random) -> Fault:
    seconds = LONG_HOLE_SECONDS if dice.random() < 0.2 else dice.uniform(1, 8)
    silence = dice.choice(list(Silence))

    async def carry_out() -> None:
        link.black_hole(silence)
        await asyncio.sleep(seconds)
        link.heal()

    return fault_of(link.name, f"{link.name} {silence.value} for {seconds:.1f} s", carry_out)


def _slow(link: Way, dice: Random) -> Fault:
    seconds, late = dice.uniform(2, 6), dice.uniform(0.02, 0.5)

    async def carry_out() -> None:
        link.delay(late)
        await asyncio.sleep(seconds)
        link.heal()

    return fault_of(link.name, f"{link.name} {late * 1000:.0f} ms late for {seconds:.1f} s", carry_out)


def _postgres_crashed(stage: Stage, dice: Random) -> Fault:
    pause = dice.uniform(0, 2)

    async def carry_out() -> None:
        await stage.database.crash()
        await asyncio.sleep(pause)
        await stage.database.start()

    return fault_of(POSTGRES, f"postgres stopped immediately, back after {pause:.1f} s", carry_out)


def _postgres_restored(stage: Stage, dice: Random) -> Fault:
    async def carry_out() -> None:
        stage.before_restore()
        await stage.database.restore(dice)
        stage.after_restore()

    return fault_of(POSTGRES, "database replaced by one from an earlier dump", carry_out)


def _postgres_restored_in_place(stage: Stage, dice: Random) -> Fault:
    async def carry_out() -> None:
        stage.before_restore()
        await stage.database.restore_in_place(dice)
        stage.after_restore()

    return fault_of(POSTGRES, "tables replaced by those from an earlier dump", carry_out)


def _backends_terminated(stage: Stage, dice: Random) -> Fault:
    pauses = [0.0, *(dice.uniform(0.1, 2) for _ in range(dice.randrange(3)))]

    async def carry_out() -> None:
        for pause in pauses:
            await asyncio.sleep(pause)
            await stage.database.terminate("realtime notifier")

    return fault_of(POSTGRES, f"notifiers' backends terminated, {len(pauses)} times", carry_out)


def _of_link(kind: str, draw: Callable[[Way, Random], Fault]) -> Draw:
    node = _notifier if kind.startswith("notifier") else _gateway
    return lambda stage, dice: draw(stage.links[kind][node(stage, dice)].part(dice), dice)


def _gateway_killed(stage: Stage, dice: Random) -> Fault:
    node = _gateway(stage, dice)
    return _killed(stage.gateways[node], stage.links["gateway-redis"][node], dice)


def _notifier_killed(stage: Stage, dice: Random) -> Fault:
    node = _notifier(stage, dice)
    return _killed(stage.notifiers[node], stage.links["notifier-redis"][node], dice)


def _gateway(stage: Stage, dice: Random) -> int:
    """Return the index of a gateway."""
    return dice.randrange(len(stage.gateways))


def _notifier(stage: Stage, dice: Random) -> int:
    """Return the index of the notifier that leads, by its connections, or sometimes of one that stands by."""
    sessions = [len(link.connections) for link in stage.links["notifier-postgres"]]
    leader = sessions.index(max(sessions))
    return leader if dice.random() < LEADER else dice.randrange(len(sessions))


LINKS = ("gateway-redis", "gateway-postgres", "notifier-redis", "notifier-postgres", "client-gateway")

SERVICE_KINDS: dict[str, Draw] = {
    "gateway-killed": _gateway_killed,
    "gateway-stopped": lambda stage, dice: _stopped(stage.gateways[_gateway(stage, dice)], dice),
    "gateway-frozen": lambda stage, dice: _frozen(
        stage.gateways[_gateway(stage, dice)], dice.uniform(1.2, 2) * PRESENCE_TTL_SECONDS
    ),
    "notifier-killed": _notifier_killed,
    "notifier-stopped": lambda stage, dice: _stopped(stage.notifiers[_notifier(stage, dice)], dice),
    "notifier-frozen": lambda stage, dice: _frozen(
        stage.notifiers[_notifier(stage, dice)], dice.uniform(1, 18)
    ),
    **{f"{kind}-cut": _of_link(kind, _cut) for kind in LINKS},
    **{f"{kind}-silent": _of_link(kind, _silent) for kind in LINKS},
    **{f"{kind}-slow": _of_link(kind, _slow) for kind in LINKS},
}
POSTGRES_KINDS: dict[str, Draw] = {
    "postgres-crashed": _postgres_crashed,
    "postgres-restored": _postgres_restored,
    "postgres-restored-in-place": _postgres_restored_in_place,
    "backends-terminated": _backends_terminated,
}

# By the kind of Redis.
KINDS: dict[str, Mapping[str, Draw]] = {
    redis: {**SERVICE_KINDS, **of_redis, **POSTGRES_KINDS}
    for redis, of_redis in (("standalone", PAIR), ("sentinel", SENTINEL), ("cluster", CLUSTER))
}

"""The faults of Redis: of a pair that the suite promotes itself, of a pair under sentinels, and of a cluster.

Tables of kinds as in `faults.py`. In a cluster and under sentinels a fault strikes a server that holds keys
in use.
"""

from __future__ import annotations

import asyncio
from random import Random

from realtime import names
from tests.chaos.fault import REDIS, Draw, Fault, fault_of
from tests.chaos.ledger import TABLES
from tests.chaos.load import ROOMS
from tests.chaos.redis_fleet import Fleet
from tests.chaos.redis_pair import RedisPair
from tests.chaos.stage import PROJECT, Stage

TOPICS = (*(f"table:public.{table}" for table in TABLES), *ROOMS, "presence", f"presence:{ROOMS[0]}")
# What the service has most to do with; each topic's keys lie together, and so do a project's.
IN_USE = (
    *(names.topic_channel(PROJECT, topic) for topic in TOPICS),
    *(names.notifier(PROJECT), names.notifiers(), names.nodes()),
)
SENTINELS = 3


def _pair(stage: Stage) -> RedisPair:
    assert isinstance(stage.redis, RedisPair)
    return stage.redis


def _fleet(stage: Stage) -> Fleet:
    assert isinstance(stage.redis, Fleet)
    return stage.redis


def _emptied(stage: Stage, dice: Random) -> Fault:
    pause = dice.uniform(0, 3)

    async def carry_out() -> None:
        await _pair(stage).primary.kill()
        await asyncio.sleep(pause)
        await _pair(stage).primary.start()

    return fault_of(REDIS, f"redis killed, back empty after {pause:.1f} s", carry_out)


def _frozen(stage: Stage, dice: Random) -> Fault:
    seconds = dice.uniform(1, 8)

    async def carry_out() -> None:
        await _pair(stage).freeze(seconds)

    return fault_of(REDIS, f"redis frozen for {seconds:.1f} s", carry_out)


def _promoted(stage: Stage, dice: Random) -> Fault:
    lag = dice.uniform(0.2, 2)

    async def carry_out() -> None:
        await _pair(stage).promote_lagging(lag)

    return fault_of(REDIS, f"redis killed, its replica promoted that lags {lag:.1f} s", carry_out)


def _demoted(stage: Stage, dice: Random) -> Fault:
    lag = dice.uniform(0.2, 2)

    async def carry_out() -> None:
        await _pair(stage).promote_beside(lag)

    return fault_of(REDIS, f"redis demoted alive, its replica promoted that lags {lag:.1f} s", carry_out)


def _primary_killed(stage: Stage, dice: Random) -> Fault:
    key, pause, lag = dice.choice(IN_USE), dice.uniform(0, 3), dice.choice((0.0, dice.uniform(0.2, 0.9)))

    async def carry_out() -> None:
        await _fleet(stage).kill_primary(key, lag, pause)

    words = f"primary of {key} killed, its replica lags {lag:.1f} s; back {pause:.1f} s after it took over"
    return fault_of(REDIS, words, carry_out)


def _primary_emptied(stage: Stage, dice: Random) -> Fault:
    key, pause = dice.choice(IN_USE), dice.uniform(0, 0.3)

    async def carry_out() -> None:
        await _fleet(stage).empty_primary(key, pause)

    return fault_of(REDIS, f"primary of {key} killed, back empty after {pause:.1f} s", carry_out)


def _primary_frozen(stage: Stage, dice: Random) -> Fault:
    key, seconds = dice.choice(IN_USE), dice.uniform(0.2, 0.8)

    async def carry_out() -> None:
        await _fleet(stage).freeze_primary(key, seconds)

    return fault_of(REDIS, f"primary of {key} frozen for {seconds:.1f} s", carry_out)


def _primary_replaced(stage: Stage, dice: Random) -> Fault:
    key, pause = dice.choice(IN_USE), dice.uniform(0, 5)

    async def carry_out() -> None:
        await _fleet(stage).replace_frozen(key, pause)

    words = f"primary of {key} frozen until {pause:.1f} s after its replica took over"
    return fault_of(REDIS, words, carry_out)


def _primary_switched(stage: Stage, dice: Random) -> Fault:
    key = dice.choice(IN_USE)

    async def carry_out() -> None:
        await _fleet(stage).switch(key)

    return fault_of(REDIS, f"primary of {key} and its replica change their parts", carry_out)


def _primary_forced(stage: Stage, _: Random) -> Fault:
    async def carry_out() -> None:
        await _fleet(stage).force()

    return fault_of(REDIS, "sentinels told to switch, while the primary answers on", carry_out)


def _slots_moved(stage: Stage, dice: Random) -> Fault:
    some, to, returns = dice.sample(IN_USE, dice.randint(1, 3)), dice.randrange(2), dice.random() < 0.5

    async def carry_out() -> None:
        await _fleet(stage).move(some, to, returns)

    words = f"slots of {', '.join(some)} moved key by key{', each back at once' * returns}"
    return fault_of(REDIS, words, carry_out)


def _slots_migrated(stage: Stage, dice: Random) -> Fault:
    some, to = dice.sample(IN_USE, dice.randint(2, 5)), dice.randrange(2)

    async def carry_out() -> None:
        await _fleet(stage).migrate(some, to)

    words = f"slots of {', '.join(some)}, as far as they lie together, moved as a whole"
    return fault_of(REDIS, words, carry_out)


def _replica_killed(stage: Stage, dice: Random) -> Fault:
    key, pause = dice.choice(IN_USE), dice.uniform(0, 3)

    async def carry_out() -> None:
        await _fleet(stage).kill_replica(key, pause)

    return fault_of(REDIS, f"replica of {key} killed, back after {pause:.1f} s", carry_out)


def _sentinel_killed(stage: Stage, dice: Random) -> Fault:
    number, pause = dice.randrange(SENTINELS), dice.uniform(0, 3)

    async def carry_out() -> None:
        await _fleet(stage).kill_sentinel(number, pause)

    return fault_of(REDIS, f"sentinel {number} killed, back after {pause:.1f} s", carry_out)


def _clients_killed(stage: Stage, dice: Random) -> Fault:
    key, kind = dice.choice(IN_USE), dice.choice(("pubsub", "normal"))

    async def carry_out() -> None:
        await _fleet(stage).command_primary(key, "CLIENT", "KILL", "TYPE", kind)

    return fault_of(REDIS, f"{kind} connections killed at the primary of {key}", carry_out)


def _scripts_flushed(stage: Stage, dice: Random) -> Fault:
    key = dice.choice(IN_USE)

    async def carry_out() -> None:
        await _fleet(stage).command_primary(key, "SCRIPT", "FLUSH")

    return fault_of(REDIS, f"scripts flushed at the primary of {key}", carry_out)


PAIR: dict[str, Draw] = {
    "redis-emptied": _emptied,
    "redis-frozen": _frozen,
    "redis-promoted": _promoted,
    "redis-demoted": _demoted,
}
FLEET: dict[str, Draw] = {
    "redis-killed": _primary_killed,
    "redis-emptied": _primary_emptied,
    "redis-frozen": _primary_frozen,
    "redis-replaced": _primary_replaced,
    "redis-switched": _primary_switched,
    "redis-replica-killed": _replica_killed,
    "redis-clients-killed": _clients_killed,
    "redis-scripts-flushed": _scripts_flushed,
}
SENTINEL: dict[str, Draw] = {
    **FLEET,
    "redis-forced": _primary_forced,
    "redis-sentinel-killed": _sentinel_killed,
}
CLUSTER: dict[str, Draw] = {
    **FLEET,
    "redis-slots-moved": _slots_moved,
    "redis-slots-migrated": _slots_migrated,
}

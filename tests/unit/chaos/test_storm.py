"""Which faults a storm draws, and that what it draws means what its words say."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.chaos.fault import Fault, fault_of
from tests.chaos.faults import KINDS
from tests.chaos.storm import Calms, Storm, matching

NO_CALMS = Calms(0, (0, 0), (0, 0))


class NoDumps:
    """A stage of which a storm uses the database alone."""

    def __init__(self) -> None:
        self.database = self

    async def dump(self) -> None:
        pass

    async def keep_dumping(self, dice: Random) -> None:
        pass


@pytest.fixture
def stage() -> Any:
    return NoDumps()


def kinds(*names: str) -> dict[str, Any]:
    """Faults that all are about one part, so that one waits where two are drawn."""

    async def nothing() -> None:
        pass

    return {name: lambda stage, dice, name=name: fault_of("redis", name, nothing) for name in names}


@pytest.mark.parametrize("seed", range(10))
async def test_as_many_faults_strike_as_were_asked_for_each_kind_once(stage, seed):
    struck: list[str] = []
    storm = Storm(stage, seed, kinds("a", "b", "c"), lambda kind, words: struck.append(kind), NO_CALMS)
    await storm.blow(0, at_least=3)
    assert sorted(struck) == ["a", "b", "c"]


@pytest.mark.parametrize("redis", KINDS)
def test_a_seed_means_the_same_faults_of_redis(redis, stage):
    def drawn(seed: int) -> list[Fault]:
        of_redis = matching(["redis-*"], KINDS[redis])
        return [draw(stage, Random(seed)) for draw in of_redis.values()]

    assert [fault.words for fault in drawn(1)] == [fault.words for fault in drawn(1)]
    assert [fault.words for fault in drawn(1)] != [fault.words for fault in drawn(2)]


def test_what_strikes_the_service_strikes_it_on_each_kind_of_redis():
    names = [[kind for kind in of_redis if not kind.startswith("redis-")] for of_redis in KINDS.values()]
    assert names[0] == names[1] == names[2]


def test_a_kind_that_this_redis_does_not_know_is_refused():
    assert list(matching(["redis-slots-*"], KINDS["cluster"])) == [
        "redis-slots-moved",
        "redis-slots-migrated",
    ]
    with pytest.raises(ValueError, match="redis-slots"):
        matching(["redis-slots-*"], KINDS["sentinel"])

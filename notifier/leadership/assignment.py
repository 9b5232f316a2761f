"""Which notifier should lead which project: evenly, the same on every notifier, and with few moves.

Takes which notifiers are able to lead each project; the election acts on the result. Keeps no state: every
notifier that knows the same fleet computes the same result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from functools import lru_cache, partial
from hashlib import blake2b

Assigned = dict[str, str]  # project → notifier


def assign(able: Mapping[str, Collection[str]]) -> Assigned:
    """Give each project one of the notifiers that are able to lead it; a project without one gets none.

    If all are able to lead all, two notifiers differ by one project at most. Each project starts with the
    notifier of its highest score, which a new or a lost notifier changes for few; then the load is levelled.
    """
    assigned = {
        project: max(notifiers, key=partial(_liking, project))
        for project, notifiers in sorted(able.items())
        if notifiers
    }
    load = Counter({notifier: 0 for notifiers in able.values() for notifier in notifiers})
    load.update(assigned.values())
    while moves := _relief(able, assigned, load):
        for project, notifier in moves:
            load[assigned[project]] -= 1
            load[notifier] += 1
            assigned[project] = notifier
    return assigned


def _relief(
    able: Mapping[str, Collection[str]], assigned: Assigned, load: Counter[str]
) -> list[tuple[str, str]]:
    """Find moves that take one project from the fullest notifier that can be relieved; [] if none can.

    If it can give no project to an emptier notifier, it may give one to a third, which passes another on.
    """
    for fullest in sorted(load, key=lambda one: (-load[one], one)):
        came_by: dict[str, tuple[str, str]] = {}  # notifier → the project that it takes, and the giver
        reached = [fullest]
        for giver in reached:
            for project, taker in _gifts(able, assigned, giver):
                if taker != fullest and taker not in came_by:
                    came_by[taker] = project, giver
                    reached.append(taker)
        emptier = [one for one in came_by if load[one] <= load[fullest] - 2]
        if emptier:
            return _path(came_by, min(emptier, key=lambda one: (load[one], one)), fullest)
    return []


def _gifts(able: Mapping[str, Collection[str]], assigned: Assigned, giver: str) -> list[tuple[str, str]]:
    """Return the projects that a notifier could give, each with a taker, the highest score first."""
    gifts = [
        (project, taker)
        for project, holder in assigned.items()
        if holder == giver
        for taker in able[project]
        if taker != giver
    ]
    return sorted(gifts, key=lambda gift: _liking(*gift), reverse=True)


def _path(came_by: dict[str, tuple[str, str]], last: str, first: str) -> list[tuple[str, str]]:
    moves = []
    while last != first:
        project, giver = came_by[last]
        moves.append((project, last))
        last = giver
    return moves


@lru_cache(maxsize=10_000)
def _liking(project: str, notifier: str) -> bytes:
    """Return the score of a notifier for a project: random, but the same on every notifier."""
    return blake2b(f"{project} {notifier}".encode(), digest_size=8).digest()

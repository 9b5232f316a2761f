"""Which notifier is to lead which project: evenly, the same on every notifier, and moving little.

Takes who is able to lead what; the election acts on what comes out. Remembers nothing: whoever knows the same
fleet finds the same answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from functools import lru_cache, partial
from hashlib import blake2b

Assigned = dict[str, str]  # project → notifier


def assign(able: Mapping[str, Collection[str]]) -> Assigned:
    """Give each project one of the notifiers that are able to lead it; a project without one gets none.

    Where all are able to lead all, two notifiers differ by one project at most. Each project begins with
    the one that it likes best, which a newcomer or a loss changes for few; then the load is levelled.
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

    Where it cannot give a project to an emptier one, it may give one to a third, which gives another on.
    """
    for fullest in sorted(load, key=lambda one: (-load[one], one)):
        came_by: dict[str, tuple[str, str]] = {}  # notifier → project, and who gives it
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
    """What a notifier could give to whom, first what likes its taker best."""
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
    """How much a project likes a notifier: chance, but the same for everybody."""
    return blake2b(f"{project} {notifier}".encode(), digest_size=8).digest()

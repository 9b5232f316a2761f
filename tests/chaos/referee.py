"""Count what was seen in a run and collect violations: pure, without a clock.

All listeners report to it, and the command line prints its report. It also knows which change each id of a
table means, by a hash for each id: one id is one change, for all subscribers on all nodes.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping

DUPLICATE, LOSS, OUT_OF_ORDER = "duplicates", "losses", "out of order"
WRONG, GHOST, PHANTOM = "wrong content", "ghosts", "never committed"
BROKEN = "against the protocol"
KINDS = (DUPLICATE, LOSS, OUT_OF_ORDER, WRONG, GHOST, PHANTOM, BROKEN)

KEPT_TEXTS = 100  # most violations that are kept; beyond it they are only counted,
KEPT_ALIKE = 3  # and beyond it those of one kind in one place
KEPT_EPOCHS = 8  # epochs of a table of which the ids are known
HASH_MASK = 2**63 - 1
FAR_AHEAD = 1_000_000  # no offset is that far beyond the last one


class Referee:
    """The verdict on one run."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.counts: Counter[str] = Counter()  # events by name, including violations by kind
        self.faults: Counter[str] = Counter()  # by kind
        self.violations: list[str] = []  # the first of them, each in a sentence with the seed
        self.on_violation: Callable[[str], None] = lambda _: None  # gets each of these sentences at once
        self._alike: Counter[tuple[str, str]] = Counter()  # violations by kind and place
        self.silence = (0.0, "nobody")  # the longest, in seconds, and whose
        self._ids: dict[str, dict[str, array[int]]] = {}  # by table and epoch: hashes by offset, 0 unknown

    def __repr__(self) -> str:
        return (
            f"<Referee of seed {self.seed}: {sum(self.faults.values())} faults, {len(self.violations)} wrong>"
        )

    @property
    def is_content(self) -> bool:
        return not self.violations

    def fault(self, kind: str) -> None:
        self.faults[kind] += 1

    def count(self, what: str, times: int = 1) -> None:
        self.counts[what] += times

    def violation(self, kind: str, where: str, what: str) -> None:
        """Record a violation; `kind` is one of KINDS, `where` names subscriber, channel and segment."""
        assert kind in KINDS, kind
        self.counts[kind] += 1
        self._alike[kind, where] += 1
        if len(self.violations) < KEPT_TEXTS and self._alike[kind, where] <= KEPT_ALIKE:
            self.violations.append(f"seed {self.seed}: {kind}: {where}: {what}")
            self.on_violation(self.violations[-1])

    def was_silent(self, seconds: float, who: str) -> None:
        self.silence = max(self.silence, (seconds, who))

    def is_new_meaning(self, table: str, epoch: str, offset: int, change: object) -> bool:
        """Tell whether this id meant another change before."""
        epochs = self._ids.setdefault(table, {})
        hashes = epochs.setdefault(epoch, array("q"))
        if len(epochs) > KEPT_EPOCHS:
            del epochs[next(iter(epochs))]
        if not 0 < offset <= len(hashes) + FAR_AHEAD:
            return True
        hashes.extend([0] * (offset - len(hashes)))
        meaning = hash(change) & HASH_MASK or 1
        known = hashes[offset - 1]
        hashes[offset - 1] = meaning
        return known not in (0, meaning)

    def report(self) -> str:
        """Return the report, as lines for a person."""
        figures = {
            "faults": f"{sum(self.faults.values())}{_by_kind(self.faults)}",
            "changes committed": f"{self.counts['changes']} in {self.counts['transactions']} transactions"
            f" ({self.counts['rollbacks']} rolled back, {self.counts['broken']} broken off)",
            "deliveries": f"{self.counts['deliveries']}, broadcasts {self.counts['broadcasts']},"
            f" presence {self.counts['presence']}",
            "connections": f"{self.counts['connections']}, failed {self.counts['refused']},"
            f" dead {self.counts['dead']}",
            "recoveries": f"{self.counts['recoveries']}, not recovered {self.counts['unrecovered']}",
            "resyncs": f"{self.counts['resyncs']}, odd things covered by one {self.counts['covered']}",
            **{kind: str(self.counts[kind]) for kind in KINDS},
            "longest silence": f"{self.silence[0]:.1f} s ({self.silence[1]})",
        }
        lines = [f"{name + ':':22}{value}" for name, value in figures.items()]
        more = sum(self.counts[kind] for kind in KINDS) - len(self.violations)
        end = [*self.violations, *([f"seed {self.seed}: and {more} more"] if more else [])]
        return "\n".join([*lines, *(end or [f"seed {self.seed}: nothing lost"])])


def _by_kind(faults: Mapping[str, int]) -> str:
    listed = ", ".join(f"{kind} {times}" for kind, times in sorted(faults.items()))
    return f" ({listed})" if listed else ""

"""Figures of measurements: each has a unit, and what was measured beside it in the same run. Pure."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

SHARES = {"p50": 0.50, "p99": 0.99}  # of latencies


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure; `beside` has the same figure of others, by their names. Infinity: it was not reached."""

    what: str
    value: float
    unit: str
    beside: Mapping[str, float] = field(default_factory=dict)


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed; without any, nan."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def median(values: Iterable[float]) -> float:
    """Return the median; of an even number the mean of the middle two. Without any, nan."""
    found = list(values)
    return statistics.median(found) if found else math.nan


def as_json(figures: Mapping[str, Sequence[Figure]], about: Mapping[str, object]) -> str:
    """Return the figures of each measurement with what is known of the run, as JSON."""
    found = [
        {
            "measurement": measurement,
            "what": figure.what,
            "value": _finite(figure.value),
            "unit": figure.unit,
            "beside": {name: _finite(value) for name, value in figure.beside.items()},
            "ratio": {name: _finite(_ratio(figure.value, value)) for name, value in figure.beside.items()},
        }
        for measurement, ones in figures.items()
        for figure in ones
    ]
    return json.dumps({**about, "figures": found}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _ratio(value: float, other: float) -> float:
    return value / other if other and math.isfinite(other) else math.nan


def _finite(value: float) -> float | None:
    """JSON has neither infinity nor nan: what was not reached or not measured is null."""
    return float(f"{value:.6g}") if math.isfinite(value) else None

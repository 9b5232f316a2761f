"""The arithmetic of the measurements, and the file that they write."""

from __future__ import annotations

import json
import math

import pytest

from bench.figures import Figure, as_json, median, percentile

HUNDRED = [float(number) for number in range(100, 0, -1)]


@pytest.mark.parametrize(("share", "value"), [(0.50, 50), (0.99, 99), (0.991, 100), (1, 100), (0, 1)])
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(share: float, value: float) -> None:
    assert percentile(HUNDRED, share) == value


def test_what_never_came_is_in_the_percentiles() -> None:
    assert percentile([1, 2, math.inf, math.inf], 0.50) == 2
    assert percentile([1, 2, math.inf, math.inf], 0.75) == math.inf


def test_nothing_has_no_percentile_and_no_median() -> None:
    assert math.isnan(percentile([], 0.5))
    assert math.isnan(median([]))


def test_the_file_has_each_figure_with_its_unit_and_what_is_beside_it() -> None:
    figures = {
        "latency": [Figure("5 commits/s: p50", 3.0, "ms", {"bare chain": 1.5, "out": math.inf})],
        "bulk": [Figure("rows into Redis", math.inf, "rows/s")],
    }
    assert json.loads(as_json(figures, {"version": "1", "machine": {"cores": 2}})) == {
        "version": "1",
        "machine": {"cores": 2},
        "figures": [
            {
                "measurement": "latency",
                "what": "5 commits/s: p50",
                "value": 3.0,
                "unit": "ms",
                "beside": {"bare chain": 1.5, "out": None},
                "ratio": {"bare chain": 2.0, "out": None},
            },
            {
                "measurement": "bulk",
                "what": "rows into Redis",
                "value": None,
                "unit": "rows/s",
                "beside": {},
                "ratio": {},
            },
        ],
    }

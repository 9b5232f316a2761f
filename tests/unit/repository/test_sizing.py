"""The examples of docs/sizing.md follow from its formulas, and its figures from docs/benchmarks.md."""

from __future__ import annotations

import math
import re

import pytest

from realtime.process.memory_limit import SHARE
from realtime.settings.config import Limits
from tests.docs_fixture import table, text_of
from tests.manifests import HERE, of_files, rendered

SIZING, BENCHMARKS = "docs/sizing.md", "docs/benchmarks.md"
RECOVERED = ("How fast clients come back", 3, 1)
FIGURES = dict(table(SIZING, "What was measured"))
EXAMPLES = table(SIZING, "Examples")


def number(text: str) -> float:
    found = re.match(r"[\d,.]*\d", text)
    assert found is not None, text
    return float(found[0].replace(",", ""))


def figure(what: str) -> float:
    return number(FIGURES[what])


BASE_MIB = figure("a gateway without clients")
FORGED_MIB = 190  # what a forged change may take, as docs/threat-model.md says
KERNEL_KIB = 3.7
CLIENT_KIB = figure("an open client, of the gateway's memory") + KERNEL_KIB
SHARED_KIB = figure("a subscription to what others of this gateway hear too")
OWN_KIB = figure("a subscription to a channel of its own")
DELIVERY_SECONDS = figure("CPU of a delivery, when 100 changes a second come one by one") / 1e6
REDIS_BYTES = (
    figure("Redis for an open client")
    + figure("Redis for a subscription to a channel of its own")
    + figure("Redis for an entry of presence")
)


@pytest.mark.parametrize("row", EXAMPLES, ids=lambda row: "-".join(row[:3]))
def test_an_example_follows_from_the_formulas(row: list[str]) -> None:
    clients, changes, hearers = (number(cell) for cell in row[:3])
    gateways, memory, cores, network, redis = (number(cell) for cell in row[3:])
    deliveries = changes * hearers
    assert cores == pytest.approx(deliveries * DELIVERY_SECONDS, abs=0.005)
    assert gateways == max(2, math.ceil(clients / 10_000), math.ceil(cores / 0.7)) + 1
    each = CLIENT_KIB + 2 * SHARED_KIB + OWN_KIB
    assert memory == pytest.approx(BASE_MIB + clients / gateways * each / 1024, abs=1)
    assert network == pytest.approx(deliveries * 350 * 8 / 1e6, abs=0.5)
    assert redis == pytest.approx((clients * REDIS_BYTES + 10 * 10_000 * 1.25 * 283) / 2**20, abs=1)


@pytest.mark.parametrize(
    ("what", "heading", "row", "column"),
    [
        ("an open client, of the gateway's memory", "What an idle client costs", 0, 2),
        ("a subscription to what others of this gateway hear too", "What an idle client costs", 1, 1),
        ("a subscription to a channel of its own", "What an idle client costs", 2, 1),
        ("Redis for an open client", "What an idle client costs", 0, 3),
        ("Redis for a subscription to a channel of its own", "What an idle client costs", 2, 3),
        ("Redis for an entry of presence", "What an idle client costs", 3, 4),
        ("CPU of a change in the notifier, single rows", "What capture costs the writers", 3, 1),
        ("CPU of a change in the notifier, statements of many rows", "One statement of very many rows", 1, 4),
        (
            "CPU of a delivery, when 100 changes a second come one by one",
            "What a delivery costs a gateway",
            1,
            3,
        ),
        ("the same with 500 changes a second", "What a delivery costs a gateway", 2, 3),
        ("the same with 2,000 changes a second", "What a delivery costs a gateway", 3, 3),
        ("CPU of a change in the notifier, 50 a second one by one", "CPU for a commit", 1, 1),
        ("CPU of a change in Redis, 300 a second one by one", "CPU for a commit", 2, 2),
        ("CPU of a client that is let in, in the gateway", "How fast clients come back", 2, 1),
        ("CPU of a missed change for a client that comes back, in the gateway", *RECOVERED),
    ],
)
def test_a_figure_is_one_that_was_measured(what: str, heading: str, row: int, column: int) -> None:
    assert figure(what) == number(table(BENCHMARKS, heading)[row][column])


def clients_of_a_pod() -> int:
    """How many open WebSockets the autoscaler wants on a pod, where it looks at them."""
    (component,) = of_files(HERE / "components/scale-by-connections")
    (found,) = re.findall(r'averageValue: "(\d+)"', component["patches"][0]["patch"])
    return int(found)


def mebibytes(quantity: str) -> float:
    return number(quantity) * {"Mi": 1, "Gi": 1024}[quantity[-2:]]


def gateway_mebibytes(clients: int) -> float:
    """With two shared subscriptions of each client and one of its own, as in the examples."""
    return figure("a gateway without clients") + clients * (CLIENT_KIB + 2 * SHARED_KIB + OWN_KIB) / 1024


@pytest.mark.parametrize("stage", ["base", "overlays/production"])
def test_pods_have_the_memory_that_the_formulas_ask_for(stage: str) -> None:
    found = [each for each in rendered(HERE / stage) if each["kind"] == "Deployment"]
    pods = {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in found}
    gateway, notifier = (
        pods[f"realtime-{name}"]["containers"][0]["resources"] for name in ("gateway", "notifier")
    )
    assert mebibytes(gateway["requests"]["memory"]) > gateway_mebibytes(clients_of_a_pod())
    limit = mebibytes(gateway["limits"]["memory"])
    assert limit > 2 * gateway_mebibytes(10_000)
    assert limit > gateway_mebibytes(10_000) + limit / SHARE * 1.25 + 64
    largest = Limits().max_change_bytes / 2**20
    assert mebibytes(notifier["requests"]["memory"]) > figure("a notifier") + 12 * largest
    assert mebibytes(notifier["limits"]["memory"]) > figure("a notifier") + FORGED_MIB


def test_the_gateway_is_as_large_as_it_was_measured() -> None:
    assert f"had {figure('a gateway without clients'):.0f} MiB before the first" in text_of(BENCHMARKS)

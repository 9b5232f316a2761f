"""The alert rules: each asks for what the code has, is documented, and wakes somebody when it should.

promtool plays series against the rules, in time that it makes up; only CI insists on it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.docs_fixture import table
from tests.expressions import check
from tests.manifests import HERE, alerts, of_files, run

Series = dict[str, str]  # what Prometheus scraped, in promtool's short hand: every 15 seconds a value

OF_DEMO = 'namespace="realtime", project="demo"'
LEADER, STANDBY = f'{OF_DEMO}, instance="leader"', f'{OF_DEMO}, instance="standby"'
AGE = 'realtime_gateway_delivery_age_seconds_bucket{namespace="realtime", kind="change", le='
GATEWAY, NOTIFIER = "realtime-gateway-5d-x", "realtime-notifier-7f-y"


@dataclass(frozen=True)
class Story:
    """What happens to the series that an alert looks at, and the minute in which it fires, or does not."""

    alert: str
    title: str
    fires: bool
    minute: int
    series: Series


def by_kind(alert: str, name: str, minute: int, bad: Series, good: Series) -> list[Story]:
    """Stories of a series of project `demo` on one notifier, each under its title."""
    stories = [(title, True, values) for title, values in bad.items()]
    stories += [(title, False, values) for title, values in good.items()]
    return [
        Story(alert, title, fires, minute, {f"{name}{{{LEADER}}}": values})
        for title, fires, values in stories
    ]


def live(leader: str, standby: str) -> Series:
    return {
        f"realtime_notifier_live{{{LEADER}}}": leader,
        f"realtime_notifier_live{{{STANDBY}}}": standby,
    }


def up(component: str, *values: str) -> Series:
    job = f"realtime-{component}-internal"
    return {f'up{{job="{job}", instance="{number}"}}': one for number, one in enumerate(values)}


def ages(up_to_100_ms: str, up_to_10_s: str) -> Series:
    return {f'{AGE}"0.1"}}': up_to_100_ms, f'{AGE}"10"}}': up_to_10_s, f'{AGE}"+Inf"}}': up_to_10_s}


def ready(pod: str, values: str) -> Series:
    return {f'kube_pod_status_ready{{condition="true", pod="{pod}"}}': values}


COUNTED = {
    "it happens": "0x40 1x80",
    "it happened before the first scrape": "_x40 3x80",
}
OVER = {"it happened long ago": "3x120", "it never happened": "0x120"}

STORIES = [
    Story("RealtimeNoLeader", "nobody leads", True, 5, live("0x120", "0x120")),
    Story("RealtimeNoLeader", "the leader died", True, 10, live("1x20 stale", "0x120")),
    Story("RealtimeNoLeader", "another took over", False, 10, live("1x20 0x100", "0x22 1x98")),
    Story("RealtimeNoNotifier", "none answers", True, 5, up("notifier", "0x120", "0x120")),
    Story("RealtimeNoNotifier", "there is none", True, 5, up("gateway", "1x120")),
    Story("RealtimeNoNotifier", "one answers", False, 5, up("notifier", "0x120", "1x120")),
    Story("RealtimeNoGateway", "none answers", True, 5, up("gateway", "0x120", "0x120")),
    Story("RealtimeNoGateway", "one answers", False, 5, up("gateway", "0x120", "1x120")),
    *by_kind(
        "RealtimeLag",
        "realtime_notifier_lag_seconds",
        10,
        {"old changes wait": "30x120"},
        {"all is published": "0.02x120", "it leads no more": "30x5 stale"},
    ),
    *by_kind(
        "RealtimePendingGrows",
        "realtime_notifier_pending_changes",
        25,
        {"ever more wait": "20000+10x120"},
        {"many, but ever fewer": "20000-10x120", "a few more each time": "0+10x120"},
    ),
    *by_kind("RealtimeResets", "realtime_notifier_resets_total", 12, COUNTED, OVER),
    *by_kind("RealtimeShedding", "realtime_notifier_shed_changes_total", 12, COUNTED, OVER),
    *by_kind(
        "RealtimeFaults",
        "realtime_notifier_faults_total",
        20,
        {"again and again": "0+1x120"},
        {"once or twice": "0x40 2x80"},
    ),
    *by_kind(
        "RealtimeResyncs",
        "realtime_gateway_resyncs_total",
        12,
        {"it happens": "0x40 1x80"},
        OVER,
    ),
    Story("RealtimeLateDeliveries", "most are late", True, 15, ages("0x120", "0+5x120")),
    Story("RealtimeLateDeliveries", "some are late", False, 15, ages("0+4x120", "0+5x120")),
    Story("RealtimeLateDeliveries", "nothing is delivered", False, 15, ages("7x120", "9x120")),
    *by_kind(
        "RealtimeSlowConsumers",
        "realtime_gateway_slow_consumers_total",
        12,
        {"many are closed": "0+1x120"},
        {"some are closed": "0x20 10x100"},
    ),
    *by_kind(
        "RealtimeRedisLost",
        "realtime_gateway_redis_reconnects_total",
        12,
        {"again and again": "0+1x120"},
        {"one fail-over": "0x20 2x100"},
    ),
    Story("RealtimeGatewayNotReady", "not ready", True, 10, ready(GATEWAY, "0x120")),
    Story("RealtimeGatewayNotReady", "it starts", False, 10, ready(GATEWAY, "0x12 1x108")),
    Story("RealtimeGatewayNotReady", "another's pod", False, 10, ready("postgres-0", "0x120")),
    *[
        Story(
            "RealtimeRestarts",
            title,
            fires,
            20,
            {f'kube_pod_container_status_restarts_total{{pod="{NOTIFIER}"}}': values},
        )
        for title, fires, values in (("again and again", True, "0+1x120"), ("long ago", False, "7x120"))
    ],
]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The rules as a file of Prometheus' own, which the operator makes of the object."""
    path = tmp_path / "rules.yaml"
    path.write_text(json.dumps({"groups": [{"name": "realtime", "rules": alerts()}]}))
    return path


def test_prometheus_takes_the_alerts(rules: Path) -> None:
    run("promtool", "check", "rules", str(rules))


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_metrics_and_labels_that_exist(rule: Any) -> None:
    check(rule["expr"])
    services = {each["metadata"]["name"] for each in of_files(HERE / "base") if each["kind"] == "Service"}
    assert set(re.findall(r'job="([^"]*)"', rule["expr"])) <= services
    shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    kept = {one for group in re.findall(r"by \(([^)]*)\)", rule["expr"]) for one in group.split(", ")}
    assert shown <= (kept or {"pod"})
    assert rule["labels"]["severity"] in ("critical", "warning")


def test_every_alert_is_documented() -> None:
    assert [row[0] for row in table("docs/kubernetes.md", "Alerts")] == [rule["alert"] for rule in alerts()]


@pytest.mark.parametrize("alert", [rule["alert"] for rule in alerts()])
def test_an_alert_fires_when_it_should_and_only_then(alert: str, rules: Path) -> None:
    stories = [one for one in STORIES if one.alert == alert]
    assert {one.fires for one in stories} == {True, False}
    tests = [
        {
            "name": one.title,
            "interval": "15s",
            "input_series": [{"series": name, "values": values} for name, values in one.series.items()],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})',
                    "eval_time": f"{one.minute}m",
                    "exp_samples": [{"labels": "{}", "value": 1}] if one.fires else [],
                }
            ],
        }
        for one in stories
    ]
    path = rules.with_name("tests.yaml")
    path.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": "15s", "tests": tests}))
    run("promtool", "test", "rules", str(path))

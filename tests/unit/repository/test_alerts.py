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

from realtime.postgres import backlog
from tests.docs_fixture import table
from tests.expressions import check, series
from tests.manifests import HERE, MONITORING, alerts, of_files, run

Series = dict[str, str]  # what Prometheus scraped, in promtool's short hand: every 15 seconds a value

OF_THE_OPERATOR = {"namespace", "job", "instance", "pod", "container", "service", "endpoint"}
OF_DEMO = 'namespace="realtime", project="demo"'
LEADER, STANDBY = f'{OF_DEMO}, instance="leader"', f'{OF_DEMO}, instance="standby"'
AGE = 'realtime_gateway_delivery_age_seconds_bucket{namespace="realtime", kind="change", le='
GATEWAY, ANOTHER, NOTIFIER = "realtime-gateway-5d-x", "realtime-gateway-5d-z", "realtime-notifier-7f-y"


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
    return {
        f'up{{namespace="realtime", job="{job}", instance="{number}"}}': one
        for number, one in enumerate(values)
    }


def up_elsewhere(component: str) -> Series:
    return {f'up{{namespace="staging", job="realtime-{component}-internal", instance="0"}}': "1x120"}


def ages(up_to_100_ms: str, up_to_10_s: str) -> Series:
    return {f'{AGE}"0.1"}}': up_to_100_ms, f'{AGE}"10"}}': up_to_10_s, f'{AGE}"+Inf"}}': up_to_10_s}


def ready(pod: str, values: str) -> Series:
    return {f'kube_pod_status_ready{{condition="true", pod="{pod}"}}': values}


def of_pod(name: str, pod: str, more: str = "") -> str:
    return f'{name}{{{OF_DEMO}, job="realtime-gateway-internal", pod="{pod}"{more}}}'


def files(opened: str) -> Series:
    return {
        of_pod("process_open_fds", GATEWAY): opened,
        of_pod("process_max_fds", GATEWAY): "1024x120",
    }


def queues(waiting: str, budget: str) -> Series:
    return {
        of_pod("realtime_gateway_queue_bytes", GATEWAY): waiting,
        of_pod("realtime_gateway_queue_budget_bytes", GATEWAY): budget,
    }


def by_label(alert: str, name: str, bad: dict[str, str], good: dict[str, str]) -> list[Story]:
    """Stories of a counter that rises all the time, under its title and with this label."""
    stories = [(title, True, label) for title, label in bad.items()]
    stories += [(title, False, label) for title, label in good.items()]
    return [
        Story(alert, title, fires, 15, {of_pod(name, GATEWAY, f", {label}"): "0+5x120"})
        for title, fires, label in stories
    ]


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
    Story("RealtimeNoNotifier", "it went away", True, 10, up("notifier", "1x20 stale")),
    Story(
        "RealtimeNoNotifier",
        "another namespace has one still",
        True,
        10,
        up("notifier", "1x20 stale") | up_elsewhere("notifier"),
    ),
    Story("RealtimeNoGateway", "none answers", True, 5, up("gateway", "0x120", "0x120")),
    Story("RealtimeNoGateway", "one answers", False, 5, up("gateway", "0x120", "1x120")),
    Story("RealtimeNoGateway", "it went away", True, 10, up("gateway", "1x20 stale")),
    Story(
        "RealtimeNoGateway",
        "another namespace has one still",
        True,
        10,
        up("gateway", "1x20 stale") | up_elsewhere("gateway"),
    ),
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
        {"ever more wait": "20000+10x120", "more wait than are counted": "100000x120"},
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
    Story("RealtimeQueueBudget", "it stays nearly full", True, 5, queues("230x120", "256x120")),
    Story("RealtimeQueueBudget", "a burst", False, 5, queues("10x16 250x2 10x100", "256x120")),
    *by_kind(
        "RealtimeRedisLost",
        "realtime_gateway_redis_reconnects_total",
        12,
        {"again and again": "0+1x120"},
        {"one fail-over of 20 s": "0x20 13x100"},
    ),
    Story(
        "RealtimeRedisLost",
        "one fail-over, seen by many",
        False,
        12,
        {of_pod("realtime_gateway_redis_reconnects_total", str(each)): "0x20 13x100" for each in range(20)},
    ),
    Story(
        "RealtimeNothingReady",
        "Redis is away",
        True,
        5,
        ready(GATEWAY, "0x120") | ready(ANOTHER, "0x120"),
    ),
    Story("RealtimeNothingReady", "one is", False, 5, ready(GATEWAY, "0x120") | ready(ANOTHER, "1x120")),
    *by_label(
        "RealtimeNoKeys",
        "realtime_gateway_refused_tokens_total",
        {"the keys cannot be had": 'code="unavailable"'},
        {"somebody tries without a token": 'code="unauthorized"'},
    ),
    *by_label(
        "RealtimeFull",
        "realtime_gateway_errors_total",
        {"many are refused": 'code="too_many_connections"'},
        {"messages are wrong": 'code="invalid_message"'},
    ),
    *by_label(
        "RealtimeMessagesFail",
        "realtime_gateway_errors_total",
        {"a message failed": 'code="internal"'},
        {"a message is wrong": 'code="invalid_message"'},
    ),
    *by_label(
        "RealtimeRequestsFail",
        "realtime_gateway_requests_total",
        {"a request failed": 'status="500"'},
        {"a database is away": 'status="503"'},
    ),
    Story(
        "RealtimeUnforeseenFaults",
        "one more",
        True,
        12,
        {of_pod("realtime_unforeseen_faults_total", NOTIFIER, ', part="feed"'): "0x40 1x80"},
    ),
    Story(
        "RealtimeUnforeseenFaults",
        "none of late",
        False,
        12,
        {of_pod("realtime_unforeseen_faults_total", GATEWAY, ', part="pump"'): "3x120"},
    ),
    *[
        Story(
            "RealtimeRefusals",
            title,
            fires,
            30,
            {of_pod("realtime_gateway_refusals_total", GATEWAY, f', door="rest", code="{code}"'): values},
        )
        for title, fires, code, values in (
            ("somebody tries tokens", True, "unauthorized", "0+300x120"),
            ("now and then one is wrong", False, "unauthorized", "0+30x120"),
            ("tokens ran out over night", False, "token_expired", "0+300x120"),
        )
    ],
    Story("RealtimeFewFilesLeft", "900 of 1024", True, 5, files("900x120")),
    Story("RealtimeFewFilesLeft", "100 of 1024", False, 5, files("100x120")),
    Story("RealtimeGatewayNotReady", "not ready", True, 10, ready(GATEWAY, "0x120")),
    Story("RealtimeGatewayNotReady", "it starts", False, 10, ready(GATEWAY, "0x12 1x108")),
    Story("RealtimeGatewayNotReady", "another's pod", False, 10, ready("postgres-0", "0x120")),
    Story("RealtimeNotifierNotReady", "not ready", True, 10, ready(NOTIFIER, "0x120")),
    Story("RealtimeNotifierNotReady", "it starts", False, 10, ready(NOTIFIER, "0x12 1x108")),
    Story("RealtimeNotifierNotReady", "a gateway's pod", False, 10, ready(GATEWAY, "0x120")),
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


def test_the_labels_of_the_program_are_kept_where_the_operator_has_the_same() -> None:
    (monitor,) = [each for each in of_files(MONITORING) if each["kind"] == "ServiceMonitor"]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert OF_THE_OPERATOR & {label for labels in series().values() for label in labels} == {"endpoint"}
    assert endpoint["honorLabels"] is True


def test_pending_alarms_where_the_program_stops_counting() -> None:
    (rule,) = [each for each in alerts() if each["alert"] == "RealtimePendingGrows"]
    assert re.findall(r">= (\d+)", rule["expr"]) == [str(backlog.COUNTED)]


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

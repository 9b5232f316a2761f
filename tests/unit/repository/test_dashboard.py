"""The dashboard of deploy/grafana: asks for what the code has, leaves nothing out, and is laid out well.

promtool says whether an expression is one; only CI insists on it. No Grafana is started.
"""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest

from tests.docs_fixture import ROOT
from tests.expressions import METRICS, check, family, labels_in, names_in
from tests.manifests import HERE, rendered, run

PATH = ROOT / "deploy" / "grafana" / "realtime.json"
LARGEST_BYTES = 200_000  # what `kubectl apply` writes into an annotation is 262,144 at most
COLUMNS = 24


def dashboard() -> Any:
    return json.loads(PATH.read_text())


def panels() -> list[Any]:
    """All but the headings of rows."""
    return [each for each in dashboard()["panels"] if each["type"] != "row"]


def queries() -> list[str]:
    """Of the panels, as Prometheus gets them when everything is chosen."""
    found = [target["expr"] for each in panels() for target in each["targets"]]
    return [re.sub(r"\$\w+", ".*", one.replace("$__rate_interval", "5m")) for one in found]


def choices() -> dict[str, str]:
    """The series from whose labels each variable is chosen, by the variable's name."""
    found = [each for each in dashboard()["templating"]["list"] if each["type"] == "query"]
    matches = {
        each["name"]: re.fullmatch(r"label_values\((.+), (\w+)\)", each["definition"]) for each in found
    }
    assert all(match is not None and match[2] == name for name, match in matches.items())
    return {name: match[1] for name, match in matches.items() if match is not None}


@pytest.mark.parametrize("expression", queries())
def test_what_is_asked_for_exists(expression: str) -> None:
    check(expression)


def test_every_metric_is_on_a_panel() -> None:
    asked = {name for one in queries() for name in names_in(one)}
    missing = {family(one) for one in METRICS if not any(name.startswith(family(one)) for name in asked)}
    assert missing == set()


def test_prometheus_takes_every_expression(tmp_path: Any) -> None:
    asked = [*queries(), *choices().values()]
    rules = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(asked)]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    run("promtool", "check", "rules", str(tmp_path / "rules.yaml"))


def test_variables_are_chosen_from_labels_that_exist() -> None:
    assert choices().keys() == {"namespace", "project", "job"}
    for name, selector in choices().items():
        check(f"sum by ({name}) ({selector})")


def test_every_variable_is_used_and_every_one_that_is_used_exists() -> None:
    text = PATH.read_text()
    used = set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval", "__all"}
    assert used == {*choices(), "datasource"}


def test_every_panel_says_what_it_shows_and_what_to_do() -> None:
    for each in panels():
        assert each["title"], each["id"]
        assert each["fieldConfig"]["defaults"]["unit"], each["title"]
        assert re.fullmatch(r"[A-Z0-9a-z_].+[.?]", each["description"]), each["title"]
        assert each["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    titles = [each["title"] for each in dashboard()["panels"]]
    assert len(set(titles)) == len(titles)


def test_legends_name_labels_that_the_answer_has() -> None:
    for each in panels():
        for target in each["targets"]:
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = re.findall(r"\bby \(([^)]*)\)", target["expr"])
            kept = {label.strip() for group in grouped for label in group.split(",")} if grouped else None
            assert named <= (kept if kept is not None else {"job", "instance"} | labels_in(target["expr"])), (
                target
            )


def test_panels_have_ids_of_their_own_and_room() -> None:
    every = dashboard()["panels"]
    assert len({each["id"] for each in every}) == len(every)
    places = [each["gridPos"] for each in every]
    assert all(one["x"] + one["w"] <= COLUMNS for one in places)
    for one, other in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


def test_grafana_finds_the_file_itself_where_alerts_are_installed() -> None:
    assert PATH.stat().st_size < LARGEST_BYTES
    found = [each for each in rendered(HERE / "overlays/production") if each["kind"] == "ConfigMap"]
    (ours,) = [each for each in found if "grafana_dashboard" in each["metadata"].get("labels", {})]
    assert ours["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert ours["data"] == {PATH.name: PATH.read_text()}

"""The manifests of deploy/kubernetes: valid for Kubernetes, and of one mind with the program.

`base` is read from its files; what overlays and components make of it is rendered by `kubectl kustomize`
(1.27 or newer), which only CI insists on. Nothing is sent to any cluster.
"""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest

from gateway.http import middlewares, routes, server
from gateway.timings import Timings
from gateway.websocket import web_socket
from realtime import __version__
from realtime.cli.main import main
from realtime.process.health import health_routes
from realtime.settings.config import Settings, load
from tests.docs_fixture import DOCUMENTS, blocks, text_of
from tests.manifests import HERE, module, of_files, rendered

STAGES = ("base", "overlays/dev", "overlays/production")
SECRETS = {"overlays/dev": "overlays/dev/secret.env.example"}
COMPONENTS = sorted(f"components/{path.name}" for path in HERE.glob("components/*"))
OLDEST, NEWEST = "1.27", "1.37"
# Whose schemas Kubernetes itself does not have.
BY_OTHERS = {"ServiceMonitor", "PrometheusRule", "HTTPRoute", "Kustomization", "Component"}
SENTINEL_PORT = 26379  # where `redis_url` may lead instead
OPERATIONS = "docs/operations.md"
SLACK_SECONDS = 10  # of the grace period, over all that we know to take time

kubernetes_validate = module("kubernetes_validate")


def objects(stage: str, *kinds: str) -> list[Any]:
    found = of_files(HERE / stage) if stage == "base" else rendered(HERE / stage)
    return [each for each in found if each["kind"] in kinds]


def one(stage: str, kind: str, name: str) -> Any:
    (found,) = [each for each in objects(stage, kind) if each["metadata"]["name"] == name]
    return found


def pods(stage: str) -> dict[str, Any]:
    """The specification of the pods of each Deployment, by its name."""
    found = objects(stage, "Deployment")
    return {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in found}


def containers(stage: str) -> dict[str, Any]:
    """Our containers by their name, which is that of the command."""
    found = (pods(stage)[name]["containers"] for name in ("realtime-gateway", "realtime-notifier"))
    return {each["name"]: each for (each,) in found}


def arguments(container: Any) -> dict[str, Any]:
    """What the program itself reads out of a container's arguments; click.UsageError if it takes them not."""
    command, *words = container["args"]
    return main.commands[command].make_context(command, list(words)).params


def variables(stage: str) -> dict[str, str]:
    """The Secret, as its example has it."""
    lines = (HERE / SECRETS.get(stage, "secret.env.example")).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def settings(stage: str) -> Settings:
    return load((HERE / stage / "realtime.toml").read_text(), variables(stage))


def validate(found: list[Any]) -> None:
    for each in found:
        if each["kind"] not in BY_OTHERS:
            validate_one(json.dumps(each))


@cache
def validate_one(text: str) -> None:
    """An object of the base is in whatever is rendered."""
    for version in (OLDEST, NEWEST):
        kubernetes_validate.validate(json.loads(text), version, strict=True)


def test_every_file_holds_valid_objects() -> None:
    """The validator raises for an object that is not."""
    validate(of_files(HERE))


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_rendered_is_valid(stage: str) -> None:
    validate(rendered(HERE / stage))


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_component_fits_the_base(component: str, tmp_path: Path) -> None:
    base, part = (os.path.relpath(HERE / each, tmp_path.resolve()) for each in ("base", component))
    together = {"resources": [base], "components": [part]}
    (tmp_path / "kustomization.yaml").write_text(json.dumps(together))
    validate(rendered(tmp_path))
    assert rendered(tmp_path) != rendered(HERE / "base")


@pytest.mark.parametrize("stage", STAGES)
def test_the_program_takes_what_it_is_given_and_listens_where_the_manifests_say(stage: str) -> None:
    known = {option.envvar for option in main.params if isinstance(option, click.Option)}
    for name, container in containers(stage).items():
        params = arguments(container)
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        ours = {"http": params.get("port"), "internal": params["internal_port"]}
        assert container["args"][0] == name
        assert ports == {key: value for key, value in ours.items() if value is not None}
        (mount,) = container["volumeMounts"]
        assert params["config"] == Path(mount["mountPath"]) / "realtime.toml"
        assert {each["name"] for each in container["env"]} <= known
        assert container["envFrom"] == [{"secretRef": {"name": "realtime"}}]


@pytest.mark.parametrize("stage", STAGES)
def test_the_settings_are_taken_and_the_file_holds_no_secret(stage: str) -> None:
    assert list(settings(stage).projects) == ["demo"]
    text = (HERE / stage / "realtime.toml").read_text()
    assert not re.search(r"^\w*(_url|secret|_key)\b|://[^/\s]*@", text, re.MULTILINE)
    if stage != "base":
        (held,) = [each for each in objects(stage, "ConfigMap") if "realtime.toml" in each["data"]]
        assert held["data"] == {"realtime.toml": text}


@pytest.mark.parametrize("stage", STAGES)
def test_probes_ask_what_is_answered_on_the_internal_port(stage: str) -> None:
    answered = {route.path for route in health_routes(lambda: None)}
    for container in containers(stage).values():
        asked = {
            kind: container[kind]["httpGet"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")
        }
        assert {get["port"] for get in asked.values()} == {"internal"}
        assert {get["path"] for get in asked.values()} == answered
        assert asked["readinessProbe"]["path"] == "/readyz"


@pytest.mark.parametrize("stage", STAGES)
def test_a_gateway_has_time_to_drain_and_no_two_drain_at_once(stage: str) -> None:
    seconds = settings(stage).drain_seconds
    deployment = one(stage, "Deployment", "realtime-gateway")["spec"]
    pod = deployment["template"]["spec"]
    _, pause = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    last = web_socket.CLOSE_SECONDS + 1 + server.STOP_SECONDS + Timings().goodbye_seconds
    assert pod["terminationGracePeriodSeconds"] >= int(pause) + seconds + last + SLACK_SECONDS
    assert deployment["minReadySeconds"] >= int(pause) + seconds
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


@pytest.mark.parametrize("stage", STAGES)
def test_selectors_choose_the_pods_of_a_deployment(stage: str) -> None:
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in objects(stage, "Deployment")]
    for each in objects(stage, "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"):
        chosen = each["spec"].get("selector") or each["spec"]["podSelector"]
        wanted = chosen if each["kind"] == "Service" else chosen.get("matchLabels", {})
        assert any(wanted.items() <= own.items() for own in labels), each["metadata"]["name"]
    for each in objects(stage, "HorizontalPodAutoscaler"):  # an `apply` must not undo what it decided
        assert "replicas" not in one(stage, "Deployment", each["spec"]["scaleTargetRef"]["name"])["spec"]


@pytest.mark.parametrize("stage", STAGES)
def test_services_lead_to_ports_that_exist(stage: str) -> None:
    for each in objects(stage, "Service"):
        component = each["spec"]["selector"]["app.kubernetes.io/component"]
        (container,) = pods(stage)[f"realtime-{component}"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        (port,) = each["spec"]["ports"]
        assert port["port"] == ports[port["targetPort"]]
        assert (port["name"] == "internal") is each["metadata"]["name"].endswith("-internal")


@pytest.mark.parametrize("stage", STAGES)
def test_every_pod_is_restricted(stage: str) -> None:
    for pod in pods(stage).values():
        assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]


def open_ports(policies: list[Any], direction: str) -> set[int]:
    rules = [rule for each in policies for rule in each["spec"].get(direction, [])]
    return {port["port"] for rule in rules for port in rule["ports"]}


@pytest.mark.parametrize("stage", STAGES)
def test_policies_refuse_by_default_and_let_our_addresses_through(stage: str) -> None:
    policies = objects(stage, "NetworkPolicy")
    refusing = one(stage, "NetworkPolicy", "realtime-refuse")["spec"]
    assert refusing == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    wanted = {urlsplit(url).port for name, url in variables(stage).items() if name.endswith("_URL")}
    assert open_ports(policies, "egress") == wanted | {53, 443, SENTINEL_PORT}


@pytest.mark.parametrize("way", ["ingress-nginx", "gateway-api", "monitoring"])
def test_each_way_in_opens_the_port_that_it_needs(way: str) -> None:
    params = arguments(containers("base")["gateway"])
    wanted = params["internal_port"] if way == "monitoring" else params["port"]
    policies = [each for each in of_files(HERE / "components" / way) if each["kind"] == "NetworkPolicy"]
    assert open_ports(policies, "ingress") == {wanted}
    assert all(rule["from"] for each in policies for rule in each["spec"]["ingress"])


def test_the_ingress_bears_silence_and_bodies_as_the_gateway_does_and_logs_no_token() -> None:
    (ingress,) = [each for each in of_files(HERE / "components/ingress-nginx") if each["kind"] == "Ingress"]
    notes = {name.rpartition("/")[2]: value for name, value in ingress["metadata"]["annotations"].items()}
    for name in ("proxy-read-timeout", "proxy-send-timeout"):
        assert int(notes[name]) > 2 * max(settings(stage).heartbeat_seconds for stage in STAGES)
    assert int(notes["proxy-body-size"].removesuffix("m")) << 20 > middlewares.MAX_BODY_BYTES
    assert notes["enable-access-log"] == "false"
    assert notes["proxy-buffering"] == "off"
    assert notes["proxy-next-upstream"] == "error timeout"
    (rule,) = ingress["spec"]["rules"]
    assert [path["path"] for path in rule["http"]["paths"]] == [routes.PREFIX.split("/{")[0], "/openapi.json"]
    assert {path["backend"]["service"]["port"]["name"] for path in rule["http"]["paths"]} == {"http"}


def test_documents_name_workloads_and_containers_that_exist() -> None:
    shown = "".join(block.text for page in DOCUMENTS for block in blocks(page, "sh")) + text_of(OPERATIONS)
    known = {f"{kind}/{name}" for kind in ("deployment", "deploy") for name in pods("base")}
    known |= {f"service/{each['metadata']['name']}" for each in objects("base", "Service")}
    named = re.findall(r"\b((?:deployment|deploy|service)/realtime-[\w-]+)(.*)", shown)
    assert named
    for workload, words in named:
        assert workload in known, workload
        for container in re.findall(r"^ (\w+)=", words):
            (there,) = pods("base")[workload.partition("/")[2]]["containers"]
            assert there["name"] == container


@pytest.mark.parametrize("stage", ["overlays/dev", "overlays/production"])
def test_images_have_a_tag(stage: str) -> None:
    images = [container["image"] for pod in pods(stage).values() for container in pod["containers"]]
    assert all(re.search(r":(?!latest$)[\w.-]+$", image) for image in images), images
    if stage == "overlays/production":
        assert {image.rpartition(":")[2] for image in images} == {__version__}

"""The manifests of deploy/kubernetes as tests read them: from files, or rendered by `kubectl kustomize`.

kubectl (1.27 or newer), promtool and the YAML library are things that only CI insists on. Nothing is sent to
any cluster.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.docs_fixture import ROOT

HERE = ROOT / "deploy" / "kubernetes"
MONITORING = HERE / "components" / "monitoring"


def is_ci() -> bool:
    return os.environ.get("CI") == "true"


def module(name: str) -> Any:
    """A library that only CI insists on: `kubernetes-validate`, and the YAML that it brings."""
    return import_module(name) if is_ci() else pytest.importorskip(name, reason=f"there is no {name} here")


yaml = module("yaml")


def run(name: str, *words: str, said: str = "") -> str:
    """What a program prints that is told something. Without it the test is skipped, and fails in CI."""
    if shutil.which(name) is None:
        (pytest.fail if is_ci() else pytest.skip)(f"there is no {name} on this machine")
    done = subprocess.run([name, *words], input=said, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@cache
def rendered(directory: Path) -> list[Any]:
    return list(yaml.safe_load_all(run("kubectl", "kustomize", str(directory))))


@cache
def of_files(directory: Path) -> list[Any]:
    """Every document of a directory's YAML files, as it stands there."""
    paths = sorted(directory.rglob("*.yaml"))
    return [document for path in paths for document in yaml.safe_load_all(path.read_text())]


def alerts() -> list[Any]:
    """The alert rules of the component `monitoring`."""
    (found,) = [each for each in of_files(MONITORING) if each["kind"] == "PrometheusRule"]
    return [rule for group in found["spec"]["groups"] for rule in group["rules"]]

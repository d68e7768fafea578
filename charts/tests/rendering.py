"""Renders the charts with Helm and takes the result apart. No test is in here, and nothing that speaks to a cluster."""

import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent.parent
CHART = TESTS.parent / "aiops"
CRDS_CHART = TESTS.parent / "aiops-crds"
VALUES = sorted((TESTS / "values").glob("*.yaml"))
SERVICE_MONITOR = "monitoring.coreos.com/v1/ServiceMonitor"

Manifest = dict[str, Any]


class HelmError(Exception):
    """Helm refused; the text is what it wrote."""


@cache
def kubernetes_version() -> str:
    """The version of the Kubernetes that the local cluster runs, without a `v`."""
    module = (REPOSITORY / "e2e/tools/kubernetes/go.mod").read_text()
    found = re.search(r"k8s\.io/kubernetes v(\S+)", module)
    assert found, "e2e/tools/kubernetes/go.mod names no version of k8s.io/kubernetes"
    return found[1]


def run(*command: str, standard_input: str | None = None) -> str:
    """Standard output of a command; what it wrote to standard error becomes the exception where it fails."""
    done = subprocess.run(command, input=standard_input, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HelmError(done.stderr + done.stdout)
    return done.stdout


def render(*arguments: str, chart: Path = CHART) -> str:
    """`helm template` of a release `aiops` in the namespace `aiops`, without access to a cluster."""
    version = kubernetes_version()
    return run("helm", "template", "aiops", str(chart), "--namespace=aiops", f"--kube-version={version}", *arguments)


def manifests(rendered: str) -> list[Manifest]:
    """The resources of a rendered chart."""
    return [document for document in yaml.safe_load_all(rendered) if document]


def one(documents: list[Manifest], kind: str, name: str, namespace: str | None = None) -> Manifest:
    """The resource of that kind and name; it is an error if there is not exactly one."""
    found = [
        document
        for document in documents
        if document["kind"] == kind
        and document["metadata"]["name"] == name
        and namespace in (None, document["metadata"].get("namespace"))
    ]
    assert len(found) == 1, f"{len(found)} resources {kind}/{name} in namespace {namespace}"
    return found[0]


def pod_specs(documents: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Every pod spec with the resource that it belongs to."""
    for document in documents:
        label = f"{document['kind']}/{document['metadata']['name']}"
        if document["kind"] == "Pod":
            yield label, document["spec"]
        elif document["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
            yield label, document["spec"]["template"]["spec"]


def containers(spec: Manifest) -> list[Manifest]:
    """The containers of a pod, those that prepare it first."""
    return [*spec.get("initContainers", []), *spec["containers"]]


def environment(container: Manifest) -> dict[str, Any]:
    """A container's variables: the value, or where it comes from."""
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


def updating() -> bool:
    """Whether recorded files are to be written anew rather than compared."""
    return bool(os.environ.get("CHARTS_TESTS_UPDATE"))


def compare(recorded: Path, current: str) -> None:
    """Fails where a recorded file differs from what the chart gives now."""
    if updating():
        recorded.write_text(current)
    assert recorded.exists(), f"{recorded} is missing: run charts/tests/run --update"
    assert current == recorded.read_text(), (
        f"{recorded.relative_to(REPOSITORY)} is out of date: run charts/tests/run --update, and read the difference"
    )

"""What the chart renders: recorded for review, valid for Kubernetes, and what other parts of the product count on."""

import os
import re
import shutil
from pathlib import Path

import pytest

import schemas
from rendering import (
    CHART,
    CRDS_CHART,
    SERVICE_MONITOR,
    TESTS,
    VALUES,
    Manifest,
    compare,
    containers,
    environment,
    manifests,
    one,
    pod_specs,
    render,
    run,
)

GENERATED = re.compile(r"^(  (?:AWS_SECRET_ACCESS_KEY|password): )\S+$", re.MULTILINE)


def kubeconform(rendered: str) -> None:
    """Fails where a manifest has an unknown field, a wrong type, or a kind that nobody knows."""
    folder = schemas.location(Path(os.environ["CHARTS_TESTS_SCHEMAS"]))
    template = f"{folder}/{{{{.Group}}}}_{{{{.ResourceAPIVersion}}}}_{{{{.ResourceKind}}}}.json"
    run("kubeconform", "-strict", "-schema-location", template, "-", standard_input=rendered)


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_rendered_output_is_as_recorded(values: Path) -> None:
    rendered = render(f"--values={values}")
    compare(TESTS / "rendered" / values.name, GENERATED.sub(r"\1<generated>", rendered))


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_kubernetes_knows_every_field(values: Path) -> None:
    kubeconform(render(f"--values={values}"))


def test_kubernetes_knows_every_field_of_the_crds() -> None:
    rendered = render(chart=CRDS_CHART)
    kubeconform(rendered)
    assert len(manifests(rendered)) == 3
    for crd in manifests(rendered):
        assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep", crd["metadata"]["name"]


def test_the_schemas_refuse_a_misspelt_field() -> None:
    rendered = render().replace("readOnlyRootFilesystem:", "readOnlyRootFileSystem:", 1)
    with pytest.raises(Exception, match="readOnlyRootFileSystem"):
        kubeconform(rendered)


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_every_pod_is_confined(values: Path) -> None:
    for label, spec in pod_specs(manifests(render(f"--values={values}"))):
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, label
        assert security["runAsUser"] > 0, label
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, label
        assert spec["enableServiceLinks"] is False, label
        token = spec["automountServiceAccountToken"]
        assert token is (label.endswith("-operator")), f"{label}: only the operator speaks to the API server"
        for container in containers(spec):
            where = f"{label}, container {container['name']}"
            confined = container["securityContext"]
            assert confined["allowPrivilegeEscalation"] is False, where
            assert confined["readOnlyRootFilesystem"] is True, where
            assert confined["capabilities"] == {"drop": ["ALL"]}, where
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), where
            assert "memory" in container["resources"]["limits"], where


def test_every_server_has_its_three_probes() -> None:
    for document in manifests(render()):
        if document["kind"] in ("Deployment", "StatefulSet"):
            for container in document["spec"]["template"]["spec"]["containers"]:
                for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                    assert probe in container, f"{document['metadata']['name']}: {container['name']} has no {probe}"


def test_the_defaults_leave_most_of_a_small_node_to_the_work() -> None:
    units = {"m": 0.001, "Mi": 1.0, "Gi": 1024.0, "": 1.0}

    def amount(quantity: str) -> float:
        number, unit = re.fullmatch(r"(\d+)(\w*)", quantity).groups()  # type: ignore[union-attr]
        return int(number) * units[unit]

    requests = [
        container["resources"]["requests"]
        for label, spec in pod_specs(manifests(render()))
        if not label.startswith("Pod/")
        for container in spec["containers"]
    ]
    assert sum(amount(request["cpu"]) for request in requests) <= 0.7
    assert sum(amount(request["memory"]) for request in requests) <= 1.6 * 1024


def deployment_container(documents: list[Manifest], component: str) -> Manifest:
    deployment = one(documents, "Deployment", f"aiops-{component}")
    container: Manifest = deployment["spec"]["template"]["spec"]["containers"][0]
    return container


def test_mlflow_answers_by_every_name_of_its_service() -> None:
    hosts = environment(deployment_container(manifests(render()), "mlflow"))["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    for domain in ("", ".aiops", ".aiops.svc", ".aiops.svc.cluster.local"):
        name = f"aiops-mlflow{domain}"
        assert name in hosts
        assert f"{name}:*" in hosts
    assert {"localhost", "localhost:*", "10.*", "192.168.*", "172.16.*", "172.31.*"} <= set(hosts)
    assert "172.32.*" not in hosts
    assert "*" not in hosts


def test_no_password_is_in_an_address() -> None:
    for name in ("default", "external"):
        documents = manifests(render(f"--values={TESTS}/values/{name}.yaml"))
        variables = environment(deployment_container(documents, "mlflow"))
        user = variables["MLFLOW_BACKEND_STORE_URI"].split("//")[1].split("@")[0]
        assert ":" not in user
        assert "secretKeyRef" in variables["PGPASSWORD"]


def test_names_of_an_external_database_are_escaped_in_its_address() -> None:
    documents = manifests(render(f"--values={TESTS}/values/external.yaml"))
    address = environment(deployment_container(documents, "mlflow"))["MLFLOW_BACKEND_STORE_URI"]
    assert address == "postgresql+psycopg2://mlflow%40eu@db.example.com:5433/tracking%2Feu?sslmode=verify-full"


def test_external_stores_leave_no_secret_and_no_server_behind() -> None:
    kinds = {document["kind"] for document in manifests(render(f"--values={TESTS}/values/external.yaml"))}
    assert not kinds & {"Secret", "StatefulSet"}


def test_amazon_has_no_endpoint_and_buckets_in_host_names() -> None:
    documents = manifests(render(f"--values={TESTS}/values/amazon.yaml"))
    variables = environment(deployment_container(documents, "operator"))
    assert "AWS_ENDPOINT_URL_S3" not in variables
    assert variables["AWS_REGION"] == "eu-west-1"
    assert variables["AIOPS_S3_PATH_STYLE"] == "false"


def test_the_credentials_of_a_release_are_the_same_in_every_namespace() -> None:
    documents = manifests(render("--set", "workloadNamespaces={aiops,team-a,team-b}"))
    secrets = [document for document in documents if document["metadata"]["name"] == "aiops-object-store"]
    assert sorted(secret["metadata"]["namespace"] for secret in secrets) == ["aiops", "team-a", "team-b"]
    assert len({secret["data"]["AWS_SECRET_ACCESS_KEY"] for secret in secrets}) == 1


def test_passwords_are_not_guessable() -> None:
    first, second = (manifests(render()) for _ in range(2))
    for name, key in (("aiops-object-store", "AWS_SECRET_ACCESS_KEY"), ("aiops-postgresql", "password")):
        passwords = {one(documents, "Secret", name, "aiops")["data"][key] for documents in (first, second)}
        assert len(passwords) == 2
        assert all(len(password) >= 40 for password in passwords)


def test_service_monitors_come_where_the_cluster_knows_them() -> None:
    def monitors(*arguments: str) -> int:
        return render(*arguments).count("\nkind: ServiceMonitor\n")

    assert monitors() == 0
    assert monitors("--api-versions", SERVICE_MONITOR) == 2
    assert monitors("--set", "monitoring.serviceMonitors=enabled") == 2
    assert monitors("--api-versions", SERVICE_MONITOR, "--set", "monitoring.serviceMonitors=disabled") == 0


def test_the_operator_never_sees_a_secret() -> None:
    for document in manifests(render()):
        for rule in document.get("rules", []):
            assert not {"secrets", "*"} & set(rule["resources"]), document["metadata"]["name"]
            assert "*" not in rule["verbs"]
            assert "*" not in rule["apiGroups"]


def test_the_operator_writes_to_workload_namespaces_alone() -> None:
    documents = manifests(render("--set", "workloadNamespaces={team-a,team-b}"))
    (everywhere,) = [document for document in documents if document["kind"] == "ClusterRoleBinding"]
    for rule in one(documents, "ClusterRole", everywhere["roleRef"]["name"])["rules"]:
        written = set(rule["verbs"]) - {"get", "list", "watch"}
        kinds = {f"{group}/{resource}" for group in rule["apiGroups"] for resource in rule["resources"]}
        ours = all(kind.startswith(("aiops.dev/", "events.k8s.io/")) for kind in kinds)
        assert not written or ours, f"{kinds} may be written to in every namespace"
    bindings = [document for document in documents if document["kind"] == "RoleBinding"]
    assert sorted(binding["metadata"]["namespace"] for binding in bindings) == ["team-a", "team-b"]
    for binding in bindings:
        assert binding["roleRef"]["name"] == "aiops-operator-workloads"
        assert binding["subjects"] == everywhere["subjects"]


@pytest.mark.parametrize("name", ["clusterrole.yaml", "workloads.yaml"])
def test_every_rule_of_the_operator_says_why(name: str) -> None:
    lines = (TESTS.parent / "aiops/templates/operator" / name).read_text().splitlines()
    rules = [number for number, line in enumerate(lines) if line.startswith("  - apiGroups:")]
    assert rules
    for number in rules:
        assert lines[number - 1].startswith("  # "), f"{name}, line {number + 1}: a rule without its reason"


def test_a_new_version_of_the_chart_restarts_nothing_by_itself(tmp_path: Path) -> None:
    newer = Path(shutil.copytree(CHART, tmp_path / "aiops"))
    description = newer / "Chart.yaml"
    description.write_text(re.sub(r"(?m)^(version|appVersion): .*$", r"\1: 9.9.9", description.read_text()))
    assert "9.9.9" in render(chart=newer)

    def pods(chart: Path) -> dict[str, Manifest]:
        workloads = [document for document in manifests(render(chart=chart)) if "template" in document.get("spec", {})]
        return {document["metadata"]["name"]: document["spec"]["template"] for document in workloads}

    assert len(pods(CHART)) == 4
    assert pods(newer) == pods(CHART)

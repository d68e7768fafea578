"""What values may be: every set of the tests' values passes, and a wrong one is refused with its name."""

from pathlib import Path

import pytest

from rendering import CHART, CRDS_CHART, VALUES, HelmError, kubernetes_version, render, run


def lint(chart: Path, *arguments: str) -> None:
    run("helm", "lint", "--strict", "--quiet", f"--kube-version={kubernetes_version()}", *arguments, str(chart))


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_helm_lint_has_nothing_to_say(values: Path) -> None:
    lint(CHART, f"--values={values}")


def test_helm_lint_has_nothing_to_say_of_the_crds() -> None:
    lint(CRDS_CHART)


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("operator.replicas=2", "/operator/replicas"),
        ("operator.replica=2", "additional properties 'replica' not allowed"),
        ("postgresql.embeded.enabled=false", "additional properties 'embeded' not allowed"),
        ("objectStore.external.endpoint=minio.example.com:9000", "/objectStore/external/endpoint"),
        ("objectStore.external.endpoint=https://minio.example.com/bucket", "/objectStore/external/endpoint"),
        ("objectStore.buckets.models=My_Models", "/objectStore/buckets/models"),
        ("postgresql.external.sslMode=on", "/postgresql/external/sslMode"),
        ("postgresql.external.port=70000", "/postgresql/external/port"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("mlflow.resources.requests.cpu=much", "/mlflow/resources/requests/cpu"),
        ("operator.image.digest=md5:1", "/operator/image/digest"),
        ("workloadNamespaces={Team A}", "/workloadNamespaces/0"),
        ("monitoring.serviceMonitors=yes", "/monitoring/serviceMonitors"),
        ("mlflow.allowedHosts={https://mlflow.example.com}", "/mlflow/allowedHosts/0"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_name(setting: str, complaint: str) -> None:
    with pytest.raises(HelmError) as refusal:
        render("--set", setting)
    assert complaint in str(refusal.value)


EXTERNAL_DATABASE = "postgresql.embedded.enabled=false,postgresql.external.host=db"
EXTERNAL_STORE = "objectStore.embedded.enabled=false,objectStore.external.secret.name=store"


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ("postgresql.external.host=db", 'postgresql.external.host is "db": set postgresql.embedded.enabled=false'),
        ("postgresql.embedded.enabled=false", "postgresql.external.host is empty: name the server"),
        (EXTERNAL_DATABASE, "postgresql.external.passwordSecret.name is empty: name the Secret in namespace aiops"),
        (
            f"{EXTERNAL_DATABASE},postgresql.external.passwordSecret.name=db,postgresql.external.sslMode=verify-full",
            "sslMode is verify-full and postgresql.external.caBundle names nothing to verify with",
        ),
        (
            f"{EXTERNAL_DATABASE},postgresql.external.caBundle.secret=a,postgresql.external.caBundle.configMap=b",
            "postgresql.external.caBundle names a configMap and a secret",
        ),
        ("objectStore.external.endpoint=https://s3", "objectStore.embedded.enabled=false to use that store"),
        ("objectStore.external.secret.name=mine", "objectStore.embedded.existingSecret to give the embedded one"),
        ("objectStore.embedded.enabled=false", "objectStore.external.secret.name is empty: name the Secret with AWS_"),
        (
            f"{EXTERNAL_STORE},objectStore.external.caBundle.secret=a,objectStore.external.caBundle.configMap=b",
            "objectStore.external.caBundle names a configMap and a secret",
        ),
        (
            f"{EXTERNAL_STORE},objectStore.external.endpoint=http://s3,objectStore.external.caBundle.secret=a",
            'endpoint is "http://s3", which uses no TLS',
        ),
        ("objectStore.buckets.models=mlflow", "mlflow=mlflow, models=mlflow, datasets=datasets: name three different"),
    ],
)
def test_values_that_contradict_each_other_are_refused_with_what_to_write(settings: str, remedy: str) -> None:
    with pytest.raises(HelmError) as refusal:
        render("--set", settings)
    assert "the values contradict each other" in str(refusal.value)
    assert remedy in str(refusal.value)


def test_all_contradictions_are_told_at_once() -> None:
    with pytest.raises(HelmError) as refusal:
        render("--set", "postgresql.embedded.enabled=false,objectStore.embedded.enabled=false")
    assert str(refusal.value).count("\n  - ") == 2

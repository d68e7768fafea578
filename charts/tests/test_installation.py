"""The chart on a real cluster: it starts, keeps its data and its passwords, and takes new passwords.

One release for the whole file, in the order in which its life goes. Without the operator: end-to-end tests have it.
"""

import base64
import json
import time
from collections.abc import Iterator

import pytest

from rendering import CHART, HelmError, Manifest, run

pytestmark = pytest.mark.cluster

RELEASE = NAMESPACE = "aiops-chart-test"
WORKLOADS = "aiops-chart-test-team"
STORE_SECRET = "aiops-object-store"
PODS = [f"deployment/{RELEASE}-mlflow", f"statefulset/{RELEASE}-postgresql", f"statefulset/{RELEASE}-minio"]
BUCKETS = ["mlflow", "models", "datasets"]

# Runs in MLflow's pod, which has both clients.
STORE = """
import boto3
from botocore.config import Config
store = boto3.client("s3", config=Config(s3={"addressing_style": "path"}))
"""
CREATE_BUCKETS = f"{STORE}\nfor bucket in {BUCKETS}: store.create_bucket(Bucket=bucket)"
CLIENT = f"""
import mlflow
mlflow.set_tracking_uri("http://{RELEASE}-mlflow.{NAMESPACE}.svc:5000")
client = mlflow.MlflowClient()
"""
WRITE = (
    CLIENT
    + """
run = client.create_run(client.create_experiment("kept"))
client.log_metric(run.info.run_id, "accuracy", 0.97)
client.log_text(run.info.run_id, "irreplaceable", "notes.txt")
"""
)
READ = (
    CLIENT
    + """
run, = client.search_runs([client.get_experiment_by_name("kept").experiment_id])
text = mlflow.artifacts.load_text(run.info.artifact_uri + "/notes.txt")
print(run.data.metrics["accuracy"], text)
"""
)


def kubectl(*arguments: str, standard_input: str | None = None) -> str:
    return run("kubectl", f"--namespace={NAMESPACE}", *arguments, standard_input=standard_input)


def upgrade(*arguments: str) -> None:
    run(
        *("helm", "upgrade", "--install", RELEASE, str(CHART), f"--namespace={NAMESPACE}", "--wait", "--timeout=5m"),
        *("--set=operator.replicas=0", f"--set=workloadNamespaces={{{WORKLOADS}}}"),
        *("--set=postgresql.embedded.persistence.size=1Gi", "--set=objectStore.embedded.persistence.size=1Gi"),
        *arguments,
    )


def pods(component: str = "") -> list[Manifest]:
    """The release's pods but for those that are on their way out, which `kubectl exec deployment/…` may choose."""
    selector = f"app.kubernetes.io/instance={RELEASE}" + (component and f",app.kubernetes.io/component={component}")
    found = json.loads(kubectl("get", "pods", f"--selector={selector}", "--output=json"))["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def in_mlflow(script: str) -> str:
    (pod,) = pods("mlflow")
    name = pod["metadata"]["name"]
    command = ("exec", "--stdin", name, "--container=mlflow", "--", "python", "-")
    return kubectl(*command, standard_input=script).strip()


def passwords() -> dict[str, str]:
    """What each Secret of the release says, by namespace and name."""
    found = {}
    for namespace, name in ((NAMESPACE, f"{RELEASE}-postgresql"), (NAMESPACE, STORE_SECRET), (WORKLOADS, STORE_SECRET)):
        secret = json.loads(run("kubectl", f"--namespace={namespace}", "get", "secret", name, "--output=json"))
        found[f"{namespace}/{name}"] = json.dumps(secret["data"])
    return found


def pods_by_uid() -> dict[str, str]:
    return {pod["metadata"]["uid"]: pod["metadata"]["name"] for pod in pods()}


def wait_until_ready() -> None:
    for workload in PODS:
        kubectl("rollout", "status", workload, "--timeout=300s")


def remove() -> None:
    run("helm", "uninstall", RELEASE, f"--namespace={NAMESPACE}", "--ignore-not-found", "--wait")
    run("kubectl", "delete", "namespace", NAMESPACE, WORKLOADS, "--ignore-not-found", "--timeout=180s")


@pytest.fixture(scope="module", autouse=True)
def release() -> Iterator[None]:
    remove()
    run("kubectl", "create", "namespace", NAMESPACE)
    run("kubectl", "create", "namespace", WORKLOADS)
    started = time.monotonic()
    upgrade()
    print(f"\ninstalled and ready in {time.monotonic() - started:.0f} s")
    yield
    remove()


def test_its_own_test_names_what_is_missing_and_passes_when_nothing_is() -> None:
    with pytest.raises(HelmError):
        run("helm", "test", RELEASE, f"--namespace={NAMESPACE}", "--timeout=3m")
    assert "bucket mlflow: it does not exist" in kubectl("logs", f"{RELEASE}-test")
    in_mlflow(CREATE_BUCKETS)
    log = run("helm", "test", RELEASE, f"--namespace={NAMESPACE}", "--timeout=3m", "--logs")
    assert "an artifact went through MLflow into s3://mlflow and back" in log


def test_an_upgrade_keeps_the_passwords_and_restarts_only_what_changed() -> None:
    before, old = passwords(), pods_by_uid()
    upgrade("--set=mlflow.podAnnotations.example\\.com/changed=yes")
    assert passwords() == before
    gone = {name for uid, name in old.items() if uid not in pods_by_uid()}
    assert len(gone) == 1
    assert gone.pop().startswith(f"{RELEASE}-mlflow-")


def test_data_outlives_every_pod() -> None:
    in_mlflow(WRITE)
    assert in_mlflow(READ) == "0.97 irreplaceable"
    kubectl("delete", "pods", f"--selector=app.kubernetes.io/instance={RELEASE}", "--grace-period=0", "--force")
    wait_until_ready()
    assert in_mlflow(READ) == "0.97 irreplaceable"


def test_metrics_answer_a_scrape_by_the_address_of_the_pod() -> None:
    address = pods("mlflow")[0]["status"]["podIP"]
    script = f"import urllib.request; print(urllib.request.urlopen('http://{address}:5000/metrics').read().decode())"
    assert "mlflow_http_request_total" in in_mlflow(script)


def test_a_changed_password_holds_after_a_restart_whatever_characters_it_has() -> None:
    password = "new @:/?#%'\\\" €"
    encoded = base64.b64encode(password.encode()).decode()
    change = json.dumps({"data": {"password": encoded}})
    kubectl("patch", "secret", f"{RELEASE}-postgresql", f"--patch={change}")
    kubectl("rollout", "restart", *PODS)
    wait_until_ready()
    assert in_mlflow(READ) == "0.97 irreplaceable"
    upgrade()
    assert encoded in passwords()[f"{NAMESPACE}/{RELEASE}-postgresql"]


def test_a_new_installation_finds_the_data_of_the_old_one() -> None:
    before = passwords()
    run("helm", "uninstall", RELEASE, f"--namespace={NAMESPACE}", "--wait")
    upgrade()
    assert not before.items() & passwords().items()
    assert in_mlflow(READ) == "0.97 irreplaceable"


def test_a_workload_namespace_that_does_not_exist_is_named() -> None:
    with pytest.raises(HelmError, match='namespaces "nowhere" not found'):
        upgrade("--set=workloadNamespaces={nowhere}")

"""Writes the JSON schemas that kubeconform checks manifests with, from Kubernetes' own OpenAPI and the CRDs in use.

Both come out of the Go modules that the project pins anyway, so no other download is needed.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from rendering import kubernetes_version

# ServiceMonitor is the one kind in the chart that is neither Kubernetes' nor the project's.
PROMETHEUS_OPERATOR = ("github.com/prometheus-operator/prometheus-operator", "v0.85.0")
PROMETHEUS_CRDS = ("monitoring.coreos.com_servicemonitors.yaml",)
REVISION = 3

Schema = dict[str, Any]


def module_folder(path: str, version: str) -> Path:
    """Where a Go module lies, downloaded if need be."""
    command = ["go", "mod", "download", "-json", f"{path}@{version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode != 0:
        raise SystemExit(f"go mod download {path}@{version}: {done.stdout}{done.stderr}")
    return Path(json.loads(done.stdout)["Dir"])


def strict(schema: Any) -> Any:
    """The schema, refusing fields that it does not name, as the API server does with strict field validation."""
    if isinstance(schema, list):
        return [strict(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return {"type": ["string", "integer"]}
    # The keys of `properties` are names of fields, some of which (a CRD's) are also words of schemas: not looked into.
    result = {key: strict(value) for key, value in schema.items() if key != "properties"}
    if "properties" in schema:
        result["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            result.setdefault("additionalProperties", False)
    return result


def references(schema: Any) -> Iterator[str]:
    """Names of the definitions that a schema refers to directly."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].removeprefix("#/definitions/")
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def with_definitions(name: str, definitions: dict[str, Schema]) -> Schema:
    """A schema that stands on its own: the definition and all it refers to."""
    needed: dict[str, Schema] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in needed:
            needed[current] = definitions[current]
            waiting.extend(references(definitions[current]))
    return {"$ref": f"#/definitions/{name}", "definitions": needed}


def kubernetes_schemas(version: str) -> Iterator[tuple[str, str, Schema]]:
    """(group and version, kind, schema) of every kind of Kubernetes."""
    specification = module_folder("k8s.io/kubernetes", f"v{version}") / "api/openapi-spec/swagger.json"
    raw: dict[str, Schema] = json.loads(specification.read_text())["definitions"]
    definitions = {name: strict(schema) for name, schema in raw.items()}
    # The API server reads a quantity that is written as a number as well: `cpu: 1`.
    definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = {"type": ["string", "number"]}
    for name, schema in raw.items():
        for kind in schema.get("x-kubernetes-group-version-kind", []):
            if "apiVersion" in schema.get("properties", {}):
                yield f"{kind['group']}/{kind['version']}", kind["kind"], with_definitions(name, definitions)


def crd_schemas(files: list[Path]) -> Iterator[tuple[str, str, Schema]]:
    """(group and version, kind, schema) of every custom resource definition."""
    for file in files:
        for crd in yaml.safe_load_all(file.read_text()):
            for version in crd["spec"]["versions"]:
                schema = strict(version["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}
                yield f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"], schema


def write(folder: Path) -> None:
    """Writes one file a kind, named as kubeconform asks for it: `<group>_<version>_<kind>.json`, in lower case."""
    version = kubernetes_version()
    prometheus = module_folder(*PROMETHEUS_OPERATOR) / "example/prometheus-operator-crd"
    files = [prometheus / name for name in PROMETHEUS_CRDS]
    for group_version, kind, schema in [*kubernetes_schemas(version), *crd_schemas(files)]:
        group, _, name = group_version.rpartition("/")
        # kubeconform calls the group of `apiVersion: v1` v1 as well.
        (folder / f"{group or name}_{name}_{kind}.json".lower()).write_text(json.dumps(schema))


def location(cache: Path) -> Path:
    """The folder of the schemas of these versions."""
    return cache / f"kubernetes-{kubernetes_version()}-prometheus-operator-{PROMETHEUS_OPERATOR[1]}-{REVISION}"


def main(cache: Path) -> None:
    folder = location(cache)
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        write(folder)
        (folder / "complete").touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

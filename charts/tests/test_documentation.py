"""The README's table of values is the chart's values.yaml and values.schema.json in other words."""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from rendering import CHART, compare

BEGIN, END = "<!-- values: begin -->\n", "<!-- values: end -->\n"


def leaves(values: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is not a group of named values."""
    for name, value in values.items():
        where = f"{path}{name}"
        if isinstance(value, dict) and value and name not in ("requests", "limits"):
            yield from leaves(value, f"{where}.")
        else:
            yield where, value


def described(schema: dict[str, Any], root: dict[str, Any], path: list[str]) -> str:
    """The schema's description of a value; an error names the value that has none."""
    while path:
        for part in [schema, *schema.get("allOf", [])]:
            target = root["definitions"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
            if path[0] in target.get("properties", {}):
                schema = target["properties"][path.pop(0)]
                break
        else:
            raise AssertionError(f"values.schema.json does not know {'.'.join(path)}")
    return str(schema["description"])


def table() -> str:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    rows = ["| value | default | meaning |", "| --- | --- | --- |"]
    for path, default in leaves(values):
        shown = json.dumps(default, ensure_ascii=False)
        rows.append(f"| `{path}` | `{shown}` | {described(schema, schema, path.split('.'))} |")
    return "\n".join(rows) + "\n"


def test_the_readme_lists_every_value() -> None:
    readme = CHART / "README.md"
    text = readme.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    compare(readme, before + BEGIN + "\n" + table() + "\n" + END + after)


def test_every_value_of_the_schema_has_a_default() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())

    def walk(current: dict[str, Any], value: Any, path: str) -> None:
        for part in [current, *current.get("allOf", [])]:
            target = schema["definitions"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
            for name, child in target.get("properties", {}).items():
                where = f"{path}.{name}".lstrip(".")
                if where == "global" or where.endswith("resources.claims"):
                    continue
                assert isinstance(value, dict)
                assert name in value, f"{where} is in values.schema.json and not in values.yaml"
                walk(child, value[name], where)

    walk(schema, defaults, "")


def test_every_command_of_the_readme_names_a_file_that_exists() -> None:
    for path in re.findall(r"\]\(((?!http)[^)#]+)", (CHART / "README.md").read_text()):
        assert (CHART / path).exists(), f"README.md links to {path}"

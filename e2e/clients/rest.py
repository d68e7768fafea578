"""Predictions over the REST front: rows in, one prediction a row out, with nothing but Python's own library."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any


def predict(url: str, model: str, rows: list[list[float]]) -> dict[str, Any]:
    """The answer to these rows as the server gives it."""
    request = urllib.request.Request(
        f"{url}/v1/models/{model}:predict",
        data=json.dumps({"instances": rows}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{request.full_url}: {error.code} {error.read()[:500].decode(errors='replace')}") from error

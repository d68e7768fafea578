"""Predictions over the REST front: rows in, labels and probabilities out, with nothing but Python's own library."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import numpy


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


def predict_rows(
    url: str, model: str, rows: list[list[float]], classes: list[str]
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Labels, as positions in `classes`, and probabilities in the order of `classes`, of all rows."""
    predictions = predict(url, model, rows)["predictions"]
    labels = numpy.array([classes.index(prediction["label"]) for prediction in predictions])
    probabilities = [[prediction["probabilities"][name] for name in classes] for prediction in predictions]
    return labels, numpy.array(probabilities)

"""The termination message: valid JSON within its limit, whatever the error says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aiops_trainer import termination
from aiops_trainer.errors import Reason


@pytest.mark.parametrize("text", ["short", "x" * 5000, "ü" * 5000, '"\\' * 5000, "\x00" * 5000, "🦀" * 700])
def test_a_message_of_any_length_is_json_within_two_kibibytes(text: str) -> None:
    encoded = termination.termination_message(Reason.TRAINING_FAILED, text)
    assert len(encoded) <= 2048
    decoded = json.loads(encoded)
    assert decoded["reason"] == "TrainingFailed"
    assert text.startswith(decoded["message"].removesuffix("…"))
    if len(text) > 1000:
        assert len(encoded) > 1024


def test_nothing_is_written_outside_of_a_pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "termination-log"
    monkeypatch.setattr(termination, "DEFAULT_PATH", path)
    termination.write_termination_message(path, Reason.TRAINING_FAILED, "text")
    assert not path.exists()
    path.touch()  # as the kubelet does
    termination.write_termination_message(path, Reason.TRAINING_FAILED, "text")
    assert json.loads(path.read_bytes()) == {"reason": "TrainingFailed", "message": "text"}

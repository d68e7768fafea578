"""The comparison sees what differs, and lets nothing pass that no row allows."""

from __future__ import annotations

from typing import Any

import pytest

from aiops_conformance import comparison
from aiops_conformance.comparison import Call, judge, mismatches
from aiops_conformance.differences import Difference, longer_text, same_text

CALL = Call("a call", lambda target: target)


@pytest.mark.parametrize(
    ("ours", "theirs", "paths"),
    [
        ({"status": 200}, {"status": 200}, []),
        ({"status": 200}, {"status": 404}, ["/status"]),
        ({"a": [1, 2]}, {"a": [1]}, ["/a/1"]),
        ({"a": {}}, {"a": []}, ["/a"]),
        ({"a": True}, {"a": 1}, ["/a"]),
        ({"a": 1.0}, {"a": 1}, ["/a"]),
        ({}, {"a": None}, ["", "/a"]),
        (float("nan"), float("nan"), []),
    ],
)
def test_every_differing_value_is_found_by_its_path(ours: Any, theirs: Any, paths: list[str]) -> None:
    assert [mismatch.path for mismatch in mismatches(ours, theirs)] == paths


def test_a_difference_allows_what_it_describes_and_has_to_show(monkeypatch: pytest.MonkeyPatch) -> None:
    difference = Difference("row", ("a call",), ("/error",), longer_text)
    monkeypatch.setattr(comparison, "DIFFERENCES", {"longer": difference})
    ours, theirs = {"error": "no such model, there is 'x'", "status": 404}, {"error": "no such model", "status": 404}
    assert judge(CALL, ours, theirs) == []
    assert "is not there any more" in judge(CALL, theirs, theirs)[0]
    assert "/status" in judge(CALL, ours, theirs | {"status": 400})[0]
    assert "/error" in judge(CALL, {"error": "something else", "status": 404}, theirs)[0]
    assert judge(Call("another call", CALL.ask), ours, theirs) != []


def test_texts_are_compared_without_the_id_of_the_request() -> None:
    assert same_text("wrong", "[request id: <id_unknown>] wrong.")
    assert not same_text("wrong, and more", "[request id: 1] wrong")
    assert longer_text("wrong, and more", "[request id: 1] wrong")
    assert not longer_text("(absent)", "wrong")

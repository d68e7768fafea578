"""Each call is made to both servers, and what they answer is the same but for the differences that are written down."""

from __future__ import annotations

import pytest

from aiops_conformance.calls import CALLS
from aiops_conformance.comparison import Call, judge
from aiops_conformance.differences import DIFFERENCES, HOW, rows
from aiops_conformance.servers import Target

FEWEST_CALLS = 120


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_both_servers_answer_alike(call: Call, pod: Target, oracle: Target) -> None:
    wrong = judge(call, call.ask(pod), call.ask(oracle))
    assert not wrong, "\n".join([f"{call.name}:", *wrong])


def test_there_are_many_calls_and_each_has_a_name_of_its_own() -> None:
    names = [call.name for call in CALLS]
    assert len(set(names)) == len(names) >= FEWEST_CALLS


def test_every_difference_is_a_row_of_the_page() -> None:
    missing = {one.row for one in DIFFERENCES.values()} - rows()
    assert not missing, f"docs/triton-differences.md has no such rows: {missing}"


def test_every_difference_is_shown_by_calls_that_there_are() -> None:
    names = {call.name for call in CALLS}
    unknown = {call for one in DIFFERENCES.values() for call in one.calls} - names
    assert not unknown, f"differences.toml names calls that there are not: {unknown}"
    assert all(one.calls for one in DIFFERENCES.values())
    assert HOW.keys() <= DIFFERENCES.keys()

"""Each call is made to both servers, and what they answer is the same but for the differences that are written down."""

from __future__ import annotations

import pytest

from aiops_conformance.calls import CALLS
from aiops_conformance.comparison import Call, judge
from aiops_conformance.differences import DIFFERENCES, rows
from aiops_conformance.servers import Target

FEWEST_CALLS = 120


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_both_servers_answer_alike(call: Call, pod: Target, oracle: Target) -> None:
    wrong = judge(call, call.ask(pod), call.ask(oracle))
    assert not wrong, "\n".join([f"{call.name}:", *wrong])


def test_there_are_many_calls_and_each_has_a_name_of_its_own() -> None:
    names = [call.name for call in CALLS]
    assert len(set(names)) == len(names) >= FEWEST_CALLS


def test_every_difference_is_a_row_of_the_page_and_is_used() -> None:
    used = {name for call in CALLS for name in call.differs}
    assert used == set(DIFFERENCES), "differences that no call shows, or that are not defined"
    known = rows()
    missing = {name: difference.row for name, difference in DIFFERENCES.items() if difference.row not in known}
    assert not missing, f"rows that docs/triton-differences.md lacks: {missing}"

"""The memory plan: nothing that is alive together shares a byte, and the peak is as low as it can be in known cases."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.compiler.plan import Buffer, check, place


@st.composite
def chains(draw):
    steps = draw(st.integers(1, 8))
    buffers = [Buffer(0, draw(st.integers(1, 50)), -1, draw(st.integers(0, steps)))]
    for step in range(steps):
        over = {b.key: draw(st.integers(0, 9)) for b in buffers if b.last == step and draw(st.booleans())}
        buffers.append(Buffer(step + 1, draw(st.integers(1, 50)), step, draw(st.integers(step, steps)), over))
    return buffers, steps + 1


@given(chains())
@settings(max_examples=100, deadline=None)
def test_a_plan_is_sound_and_no_larger_than_all_buffers_side_by_side(case):
    buffers, steps = case
    plan = place(buffers, steps)
    check(buffers, plan.offsets)
    assert all(plan.offsets[b.key] % 4 == 0 and plan.offsets[b.key] + b.size <= plan.size for b in buffers)
    assert plan.size <= sum(b.size + 3 for b in buffers) + 3


def test_a_chain_needs_its_two_largest_neighbours():
    buffers = [Buffer(i, size, i - 1, i) for i, size in enumerate([40, 80, 20, 60])]
    assert place(buffers, 4).size == 120


def test_an_output_over_its_input():
    buffers = [Buffer(0, 40, -1, 0), Buffer(1, 48, 0, 1, {0: 12})]
    plan = place(buffers, 2)
    assert plan.size == 52
    assert plan.offsets == {1: 0, 0: 12}


def test_a_wrong_plan_is_found():
    with pytest.raises(AssertionError, match="share"):
        check([Buffer(0, 8, -1, 0), Buffer(1, 8, 0, 1)], {0: 0, 1: 4})

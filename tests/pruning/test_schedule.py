import csv
from pathlib import Path

import numpy as np
import pytest

from pruning.schedule import ConstantSparsity, PolynomialDecay

GRID = Path(__file__).resolve().parents[3] / "shared" / "reference" / "tencon2022_grid.csv"


def tfmot_polynomial(step, initial, final, begin, end, power):
    """The formula as TF-MOT publishes it, in its own float32."""
    p = np.float32(min(1.0, max(0.0, np.float32(step - begin) / np.float32(end - begin))))
    return np.float32(initial - final) * (np.float32(1) - p) ** np.float32(power) + np.float32(final)


@pytest.mark.parametrize("power", [1, 3, 2.5])
@pytest.mark.parametrize(("initial", "final"), [(0.0, 0.5), (0.75, 0.875), (0.75, 0.5)])
def test_polynomial_decay_is_the_published_formula(initial, final, power):
    schedule = PolynomialDecay(initial, final, begin_step=30, end_step=430, power=power)
    for step in (0, 29, 30, 31, 130, 229, 430, 431, 10_000):
        assert schedule.sparsity(step) == pytest.approx(
            tfmot_polynomial(step, initial, final, 30, 430, power), abs=2e-7
        )


def test_polynomial_decay_by_hand():
    schedule = PolynomialDecay(0.0, 0.8, begin_step=0, end_step=10)
    assert schedule.sparsity(0) == 0.0
    assert schedule.sparsity(5) == pytest.approx(0.8 - 0.8 / 8)
    assert schedule.sparsity(10) == 0.8


def test_the_step_rule():
    constant = ConstantSparsity(0.5, begin_step=3, end_step=11, frequency=4)
    assert [step for step in range(30) if constant.should_prune(step)] == [3, 7, 11]
    for_ever = ConstantSparsity(0.5, begin_step=3, frequency=400)
    assert for_ever.end_step == -1
    assert for_ever.should_prune(3 + 400 * 1000)
    assert not for_ever.should_prune(400)
    polynomial = PolynomialDecay(0, 0.5, begin_step=2, end_step=9, frequency=3)
    assert [step for step in range(30) if polynomial.should_prune(step)] == [2, 5, 8]


def test_the_defaults_are_those_of_tfmot():
    assert ConstantSparsity(0.5, 0).frequency == 100
    assert PolynomialDecay(0.5, 0.8, 0, 10).frequency == 100
    assert PolynomialDecay(0.5, 0.8, 0, 10).power == 3


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ConstantSparsity(1.0, 0), "below 1"),
        (lambda: ConstantSparsity(-0.1, 0), "at least 0"),
        (lambda: ConstantSparsity(0.5, -1), "begin_step"),
        (lambda: ConstantSparsity(0.5, 10, 5), "end_step"),
        (lambda: ConstantSparsity(0.5, 0, -2), "end_step"),
        (lambda: ConstantSparsity(0.5, 0, frequency=0), "frequency"),
        (lambda: PolynomialDecay(0, 1.2, 0, 10), "final_sparsity"),
        (lambda: PolynomialDecay(0, 0.5, 10, 10), "end_step"),
        (lambda: PolynomialDecay(0, 0.5, 0, -1), "end_step"),
    ],
)
def test_bad_settings_name_the_setting(build, words):
    with pytest.raises(ValueError, match=words):
        build()


@pytest.mark.skipif(not GRID.exists(), reason=f"{GRID} is not here")
def test_the_grid_of_the_study_is_expressible_row_by_row():
    steps_per_epoch = 957
    with GRID.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 39
    for row in rows:
        initial, final = float(row["initial_sparsity"]), float(row["final_sparsity"])
        begin, end = int(row["begin_epoch"]) * steps_per_epoch, int(row["end_epoch"]) * steps_per_epoch
        if row["schedule"] == "constant":
            schedule = ConstantSparsity(final, begin, end, frequency=steps_per_epoch)
        else:
            schedule = PolynomialDecay(initial, final, begin, end, frequency=steps_per_epoch)
            assert schedule.sparsity(begin) == pytest.approx(initial)
        assert schedule.should_prune(begin)
        assert schedule.should_prune(end)
        assert schedule.sparsity(end) == pytest.approx(final)

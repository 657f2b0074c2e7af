"""Gains and biases that undo shrinkage, and the error that they have on faces they were not fitted on."""

import numpy as np
import torch

from hpe.model.recalibration import (
    GAINS,
    apply_gain_bias,
    at_bound,
    cross_validated,
    fit_gain_bias,
    split_folds,
    weighted_median,
)
from hpe.pose.rotation import flip_pose

RANDOM = np.random.default_rng(0)


def test_shrinkage_is_undone():
    true = RANDOM.normal(0, 15, (400, 3))
    true = np.concatenate([true, flip_pose(true)])
    predicted = true * [0.8, 0.625, 1.0] - [0, 2, 0]
    gain, bias = fit_gain_bias(predicted, true, np.ones(len(true)))
    np.testing.assert_allclose(gain, [1.25, 1.6, 1.0], atol=1e-9)
    np.testing.assert_allclose(bias, [0, 3.2, 0], atol=1e-9)


def test_no_other_gain_and_bias_are_better():
    from scipy.optimize import minimize

    true, weights = RANDOM.normal(0, 10, (300, 3)), RANDOM.uniform(0, 3, 300)
    predicted = 0.7 * true + RANDOM.laplace(0, 3, (300, 3)) + 1
    gain, bias = fit_gain_bias(predicted, true, weights)

    def error(line):
        return (weights * np.abs(line[0] * predicted[:, 1] + line[1] - true[:, 1])).sum()

    best = minimize(error, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 5000})
    assert error([gain[1], bias[1]]) <= best.fun * 1.0005


def test_a_search_that_ends_at_its_bound_is_told():
    true = RANDOM.normal(0, 15, (200, 3))
    gain, _ = fit_gain_bias(true * [0.3, 0.8, 4.0], true, np.ones(200))
    assert (gain[0], gain[2]) == (GAINS[-1], GAINS[0])
    assert at_bound(gain) == ["yaw", "roll"]
    assert at_bound(np.array([1.0, 1.995, 0.505])) == []


def test_cross_validation_never_shows_a_face_its_own_label():
    n = 60
    true = RANDOM.normal(0, 15, (n, 3))
    predicted, mirrored = true * 0.8 + RANDOM.normal(0, 2, (n, 3)), flip_pose(true) * 0.8
    weights, folds = RANDOM.uniform(0.5, 2, n), split_folds(np.arange(n), 5)
    poses = cross_validated(predicted, mirrored, true, weights, folds)
    wrong = true.copy()
    wrong[folds == 2] += 90
    again = cross_validated(predicted, mirrored, wrong, weights, folds)
    np.testing.assert_array_equal(again[folds == 2], poses[folds == 2])
    assert (again[folds != 2] != poses[folds != 2]).any()
    rest = folds != 2
    both, truth = np.concatenate([predicted[rest], mirrored[rest]]), np.concatenate([true[rest], flip_pose(true[rest])])
    gain, bias = fit_gain_bias(both, truth, np.tile(weights[rest], 2))
    np.testing.assert_allclose(poses[folds == 2], predicted[folds == 2] * gain + bias)


def test_pure_noise_looks_better_in_sample_than_cross_validated():
    true = RANDOM.standard_cauchy((20, 3)) * 10
    predicted = RANDOM.normal(0, 15, (20, 3))
    ones = np.ones(20)
    gain, bias = fit_gain_bias(np.tile(predicted, (2, 1)), np.concatenate([true, flip_pose(true)]), np.ones(40))
    inside = np.abs(predicted * gain + bias - true).mean()
    outside = cross_validated(predicted, predicted, true, ones, split_folds(np.arange(20), 5))
    assert np.abs(outside - true).mean() > inside


def test_folds_are_even_and_groups_stay_together():
    folds = split_folds(np.arange(23), 5)
    assert sorted(np.bincount(folds)) == [4, 4, 5, 5, 5]
    groups = np.repeat(["a", "b", "c", "d", "e", "f", "g"], [9, 8, 7, 6, 5, 4, 3])
    folds = split_folds(groups, 5)
    assert all(len(set(folds[groups == name])) == 1 for name in "abcdefg")
    assert sorted(np.bincount(folds)) == [7, 8, 9, 9, 9]


def test_weights_count_as_often_as_they_say():
    values = np.array([5.0, 1.0, 3.0, 9.0])
    assert weighted_median(values, np.array([1, 1, 1, 0])) == 3
    assert weighted_median(values, np.array([1, 0, 0, 5])) == 9
    times = RANDOM.integers(0, 4, 50)
    values = RANDOM.normal(size=50)
    repeated = np.sort(np.repeat(values, times))
    assert weighted_median(values, times) == repeated[(len(repeated) - 1) // 2]


def test_the_last_layer_has_the_gain_and_bias():
    layer, x = torch.nn.Linear(5, 3), torch.randn(4, 5)
    gain, bias = np.array([1.2, 0.9, 1.0]), np.array([0.0, 0.5, 0.0])
    with torch.no_grad():
        before = layer(x)
        apply_gain_bias(layer, gain, bias)
        torch.testing.assert_close(layer(x), before * torch.tensor(gain).float() + torch.tensor(bias).float())

"""Mean, spread, bootstrap and noise against scipy and closed forms."""

import numpy as np
import pytest
from scipy import stats

from hpe.study.statistics import DRAWS, draw, face_errors, pooled, spread, variance


def errors(seeds, faces=200, level=3.0, seed=0):
    """Errors by seed with a part that all seeds share, as faces that are hard for everybody."""
    generator = np.random.default_rng(seed)
    hard = np.random.default_rng(99).gamma(4, 0.25, size=faces)
    return {s: level * hard * generator.gamma(8, 0.125, size=faces) + generator.normal(0, 0.1) for s in range(seeds)}


def compare(rows, **options):
    """Row a against row b by their int8 files."""
    drawn = draw({(name, "int8"): by_seed for name, by_seed in rows.items()}, **options)
    return drawn.compare((("a", "int8"), ("b", "int8")))


def level(values):
    """Errors by seed that are alike for every face."""
    return {seed: np.full(50, float(value)) for seed, value in enumerate(values)}


def test_spread_is_that_of_n_minus_1_and_of_one_value_there_is_none():
    values = [3.0, 3.2, 2.9]
    assert spread(values).mean == pytest.approx(np.mean(values))
    assert spread(values).sd == pytest.approx(stats.tstd(values))
    assert (spread([2.5]).mean, spread([2.5]).sd, spread([2.5]).n) == (2.5, None, 1)


def test_errors_of_faces_wrap_and_their_mean_is_the_reported_error():
    from hpe.pose.metrics import pose_metrics

    generator = np.random.default_rng(0)
    true = generator.uniform(-179, 179, size=(40, 3))
    predicted = true + generator.normal(0, 9, size=(40, 3))
    found = face_errors(predicted.tolist(), true.tolist())
    assert found.mean() == pytest.approx(pose_metrics(predicted, true).mean_deg)
    assert face_errors([[179.0, 0, 0]], [[-179.0, 0, 0]])[0] == pytest.approx(2 / 3)


def test_paired_interval_of_single_seeds_is_scipys():
    a, b = errors(1, seed=1), errors(1, level=3.1, seed=2)
    ours = compare({"a": a, "b": b})
    assert ours.faces_alone
    theirs = stats.bootstrap(((a[0] - b[0]),), np.mean, n_resamples=20_000, method="percentile", rng=0)
    assert ours.difference_deg == pytest.approx((a[0] - b[0]).mean())
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert ours.low_deg == pytest.approx(theirs.confidence_interval.low, abs=0.06 * width)
    assert ours.high_deg == pytest.approx(theirs.confidence_interval.high, abs=0.06 * width)
    share = np.mean(theirs.bootstrap_distribution < 0)
    assert ours.probability == pytest.approx(share, abs=0.03)


def test_pairing_takes_the_hardness_of_faces_out():
    a, b = errors(1, seed=1)[0], errors(1, level=3.1, seed=2)[0]
    paired = compare({"a": {0: a}, "b": {0: b}})
    shuffled = compare({"a": {0: a}, "b": {0: np.random.default_rng(5).permutation(b)}})
    assert shuffled.difference_deg == pytest.approx(paired.difference_deg)
    assert shuffled.high_deg - shuffled.low_deg > 1.2 * (paired.high_deg - paired.low_deg)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_over_seeds_alone_the_interval_is_that_of_the_t_test(seeds):
    """Every face alike, so that seeds are the only chance."""
    a, b = np.random.default_rng(seeds).normal(3, 0.2, size=(2, seeds))
    ours, theirs = compare({"a": level(a), "b": level(b)}, draws=40_000), stats.ttest_ind(a, b)
    interval = theirs.confidence_interval(0.95)
    width = interval.high - interval.low
    assert (ours.low_deg, ours.high_deg) == pytest.approx((interval.low, interval.high), abs=0.04 * width)
    middle = theirs.confidence_interval(2 * stats.norm.cdf(1) - 1)
    assert ours.standard_error_deg == pytest.approx((middle.high - middle.low) / 2, rel=0.04)
    one_sided = theirs.pvalue / 2 if theirs.statistic > 0 else 1 - theirs.pvalue / 2
    assert ours.probability == pytest.approx(one_sided, abs=0.01)
    assert not ours.faces_alone


def test_all_rows_tell_the_spread_of_a_run_even_for_rows_with_one_seed():
    """Against the contrast of a one-way analysis of variance, in closed form."""
    generator = np.random.default_rng(8)
    errors = {name: generator.normal(3, 0.2, size=n) for name, n in (("a", 1), ("b", 2), ("c", 3), ("d", 4))}
    within = sum(((values - values.mean()) ** 2).sum() for values in errors.values()) / 6
    drawn = draw({(name, "int8"): level(values) for name, values in errors.items()}, draws=40_000)
    assert drawn.run_noise("int8").sd_deg == pytest.approx(np.sqrt(within))
    assert drawn.run_noise("int8").freedom == 6
    for a, b in (("a", "b"), ("b", "d"), ("a", "c")):
        found = drawn.compare(((a, "int8"), (b, "int8")))
        half = stats.t.ppf(0.975, 6) * np.sqrt(within * (1 / len(errors[a]) + 1 / len(errors[b])))
        assert found.difference_deg == pytest.approx(errors[a].mean() - errors[b].mean())
        assert (found.high_deg - found.low_deg) / 2 == pytest.approx(half, rel=0.03)
    assert drawn.run_noise("float").freedom == 0


def test_two_kinds_of_file_of_one_row_come_from_the_same_networks():
    """A cost that every network pays alike is certain, however much the networks differ; and so is its spread."""
    seeds, costs = np.array([2.0, 3.0, 4.5]), np.array([0.1, 0.12, 0.08])
    rows = {("a", "float"): level(seeds), ("a", "int8"): level(seeds + costs)}
    found, theirs = draw(rows, draws=40_000).compare((("a", "int8"), ("a", "float"))), stats.ttest_1samp(costs, 0)
    interval = theirs.confidence_interval(0.95)
    assert found.decided
    assert (found.low_deg, found.high_deg) == pytest.approx((interval.low, interval.high), abs=0.004)
    once = rows | {("b", "float"): level([1.0]), ("b", "int8"): level([1.1])}
    assert not draw(once).compare((("b", "int8"), ("b", "float"))).faces_alone


def test_the_mean_of_several_comparisons_is_the_contrast_of_its_rows():
    """The interval of a contrast in a one-way analysis of variance; b stands in both pairs, c's runs also as d."""
    generator = np.random.default_rng(9)
    errors = {name: generator.normal(3, 0.2, size=n) for name, n in (("a", 2), ("b", 3), ("c", 4))}
    rows = {(name, "int8"): level(values) for name, values in errors.items()}
    drawn = draw(rows | {("d", "int8"): level(errors["c"])}, draws=40_000)
    within = sum(((values - values.mean()) ** 2).sum() for values in errors.values()) / 6
    found = drawn.compare((("a", "int8"), ("b", "int8")), (("c", "int8"), ("b", "int8")))
    half = stats.t.ppf(0.975, 6) * np.sqrt(within * (0.25 / 2 + 1 / 3 + 0.25 / 4))
    assert found.difference_deg == pytest.approx((errors["a"].mean() + errors["c"].mean()) / 2 - errors["b"].mean())
    assert (found.high_deg - found.low_deg) / 2 == pytest.approx(half, rel=0.03)
    copied = drawn.compare((("c", "int8"), ("a", "int8")), (("d", "int8"), ("a", "int8")))
    once = drawn.compare((("c", "int8"), ("a", "int8")))
    assert (copied.low_deg, copied.high_deg) == pytest.approx((once.low_deg, once.high_deg))


def test_variance_of_means_in_closed_form():
    runs = {"a": 1, "b": 2, "c": 4}.__getitem__
    assert variance([("a", "b")], runs) == 1 + 1 / 2
    assert variance([("a", None), ("c", None)], runs) == 1 / 4 + 1 / 16
    assert variance([("a", "b"), ("a", "c")], runs) == 1 + 1 / 8 + 1 / 16
    assert variance([("a", "b"), ("b", "a")], runs) == 0


def test_one_training_under_several_names_counts_once():
    rows = {(name, "int8"): level([3.0, 3.4]) for name in "abc"} | {("d", "int8"): level([3.0, 3.2])}
    assert draw(rows).run_noise("int8").freedom == 2


def test_faces_and_seeds_add_up():
    """Errors face + seed without interaction: the variance is the sum of both, in closed form."""
    generator = np.random.default_rng(3)
    face, seed = generator.normal(0, 1, size=300), generator.normal(0, 0.08, size=12)
    rows = {
        "a": {s: 3 + face + offset for s, offset in enumerate(seed)},
        "b": {s: np.full(300, 3.0) for s in range(12)},
    }
    found = compare(rows, draws=40_000)
    sd = np.sqrt(face.var() / 300 + seed.var(ddof=1) / 12 * stats.t(22).var())
    assert found.high_deg - found.low_deg == pytest.approx(2 * 1.96 * sd, rel=0.05)


@pytest.mark.parametrize("seeds", [(2, 2), (1, 1), (2, 1), (3, 1)])
def test_equal_rows_are_seldom_called_different(seeds):
    """Made-up studies of two equal rows among seven others with two seeds; faces alone would decide half of these."""
    generator = np.random.default_rng(11)
    decided = 0
    for _ in range(200):
        face = generator.gamma(4, 0.75, size=100)
        numbers = {"a": seeds[0], "b": seeds[1]} | {str(i): 2 for i in range(7)}
        rows = {
            name: {s: face * generator.gamma(20, 0.05, size=100) + generator.normal(0, 0.3) for s in range(n)}
            for name, n in numbers.items()
        }
        decided += compare(rows, draws=400).decided
    assert decided <= 20


def test_draws_are_the_same_every_time():
    row = ("a", "int8")
    rows = {row: errors(2), ("b", "int8"): errors(3, seed=4)}
    np.testing.assert_array_equal(draw(rows).drawn[row], draw(rows).drawn[row])
    assert draw(rows).drawn[row].shape == (DRAWS,)


def test_noise_of_pairs_in_closed_form():
    found = pooled([(1.0, 1.2), (2.0, 1.8), (3.0, 3.0)])
    sd = np.sqrt(np.mean([np.var(pair, ddof=1) for pair in [(1.0, 1.2), (2.0, 1.8), (3.0, 3.0)]]))
    assert found.sd_deg == pytest.approx(sd)
    assert found.limit_deg() == pytest.approx(stats.t.ppf(0.975, 3) * sd * np.sqrt(2))
    assert found.limit_deg(1 / 2 + 1) == pytest.approx(stats.t.ppf(0.975, 3) * sd * np.sqrt(1.5))

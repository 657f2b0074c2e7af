"""Mean, spread, bootstrap and noise against scipy and closed forms."""

import numpy as np
import pytest
from scipy import stats

from hpe.study.statistics import DRAWS, draw, face_errors, noise, spread


def errors(seeds, faces=200, level=3.0, seed=0):
    """Errors by seed with a part that all seeds share, as faces that are hard for everybody."""
    generator = np.random.default_rng(seed)
    hard = np.random.default_rng(99).gamma(4, 0.25, size=faces)
    return {s: level * hard * generator.gamma(8, 0.125, size=faces) + generator.normal(0, 0.1) for s in range(seeds)}


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
    ours = draw({"a": a, "b": b}).compare("a", "b")
    theirs = stats.bootstrap(((a[0] - b[0]),), np.mean, n_resamples=20_000, method="percentile", rng=0)
    assert ours.difference_deg == pytest.approx((a[0] - b[0]).mean())
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert ours.low_deg == pytest.approx(theirs.confidence_interval.low, abs=0.06 * width)
    assert ours.high_deg == pytest.approx(theirs.confidence_interval.high, abs=0.06 * width)
    share = np.mean(theirs.bootstrap_distribution < 0)
    assert ours.probability == pytest.approx(share, abs=0.03)


def test_pairing_takes_the_hardness_of_faces_out():
    a, b = errors(1, seed=1)[0], errors(1, level=3.1, seed=2)[0]
    paired = draw({"a": {0: a}, "b": {0: b}}).compare("a", "b")
    shuffled = draw({"a": {0: a}, "b": {0: np.random.default_rng(5).permutation(b)}}).compare("a", "b")
    assert shuffled.difference_deg == pytest.approx(paired.difference_deg)
    assert shuffled.high_deg - shuffled.low_deg > 1.2 * (paired.high_deg - paired.low_deg)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_over_seeds_alone_the_interval_is_that_of_the_paired_t_test(seeds):
    """Every face alike, so that seeds are the only chance."""
    a, b = np.random.default_rng(seeds).normal(3, 0.2, size=(2, seeds))
    rows = {name: {s: np.full(50, level) for s, level in enumerate(levels)} for name, levels in (("a", a), ("b", b))}
    ours, theirs = draw(rows, draws=40_000).compare("a", "b"), stats.ttest_rel(a, b)
    interval = theirs.confidence_interval(0.95)
    width = interval.high - interval.low
    assert (ours.low_deg, ours.high_deg) == pytest.approx((interval.low, interval.high), abs=0.04 * width)
    one_sided = theirs.pvalue / 2 if theirs.statistic > 0 else 1 - theirs.pvalue / 2
    assert ours.probability == pytest.approx(one_sided, abs=0.01)


def test_faces_and_seeds_add_up():
    """Errors face + seed without interaction: the variance is the sum of both, in closed form."""
    generator = np.random.default_rng(3)
    face, seed = generator.normal(0, 1, size=300), generator.normal(0, 0.08, size=12)
    rows = {
        "a": {s: 3 + face + offset for s, offset in enumerate(seed)},
        "b": {s: np.full(300, 3.0) for s in range(12)},
    }
    found = draw(rows, draws=40_000).compare("a", "b")
    sd = np.sqrt(face.var() / 300 + seed.var(ddof=1) / 12 * stats.t(11).var())
    assert found.high_deg - found.low_deg == pytest.approx(2 * 1.96 * sd, rel=0.05)


def test_seeds_are_paired_where_both_rows_have_the_same_ones():
    face = np.full(40, 3.0)
    a = {s: face + s for s in range(3)}
    equal = draw({"a": a, "b": {s: e + 0.1 for s, e in a.items()}}).compare("a", "b")
    assert (equal.low_deg, equal.high_deg) == pytest.approx((-0.1, -0.1))
    assert equal.decided
    assert equal.probability == 1.0
    other = draw({"a": a, "b": {s + 1: e + 0.1 for s, e in a.items()}}).compare("a", "b")
    assert other.high_deg - other.low_deg > 1
    assert not other.decided


@pytest.mark.parametrize("seeds", [2, 3])
def test_equal_rows_are_seldom_called_different(seeds):
    """Made-up studies of two equal rows: drawing seeds from themselves would decide 36 and 21 % of these."""
    generator = np.random.default_rng(11)
    decided = 0
    for _ in range(200):
        face = generator.gamma(4, 0.75, size=100)
        rows = {
            name: {s: face * generator.gamma(20, 0.05, size=100) + generator.normal(0, 0.3) for s in range(seeds)}
            for name in "ab"
        }
        decided += draw(rows, draws=400).compare("a", "b").decided
    assert decided <= 20


def test_draws_are_the_same_every_time():
    rows = {"a": errors(2), "b": errors(3, seed=4)}
    np.testing.assert_array_equal(draw(rows).drawn["a"], draw(rows).drawn["a"])
    assert draw(rows).drawn["a"].shape == (DRAWS,)


def test_noise_of_pairs_in_closed_form():
    found = noise([(1.0, 1.2), (2.0, 1.8), (3.0, 3.0)])
    pooled = np.sqrt(np.mean([np.var(pair, ddof=1) for pair in [(1.0, 1.2), (2.0, 1.8), (3.0, 3.0)]]))
    assert found.sd_deg == pytest.approx(pooled)
    assert found.limit_deg() == pytest.approx(stats.t.ppf(0.975, 3) * pooled * np.sqrt(2))
    assert found.limit_deg(2, 1) == pytest.approx(stats.t.ppf(0.975, 3) * pooled * np.sqrt(1.5))

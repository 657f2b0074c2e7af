import numpy as np
import pytest

from export import load_runtime, measure_latency
from export.run.latency import summary
from tests.exported import exported


def test_every_file_has_every_figure_in_order():
    runtimes = [load_runtime(exported().files[name]) for name in ("int8", "fp32")]
    table = measure_latency(runtimes, seconds=0.01)
    assert len(table) == 2
    for figures in table:
        names = ["init", "first", "warmup", "avg", "min", "max", "std", "median"]
        assert list(figures) == [*(f"{name}_ms" for name in names), "runs"]
        assert figures["runs"] > 0
        assert 0 < figures["min_ms"] <= figures["median_ms"] <= figures["max_ms"]
        assert figures["min_ms"] <= figures["avg_ms"] <= figures["max_ms"]


def test_the_summary_is_numpys():
    times = np.random.default_rng(0).exponential(2, 101)
    answer = summary(times)
    assert answer["std_ms"] == pytest.approx(np.std(times))
    assert answer["median_ms"] == sorted(times)[50]
    assert answer["runs"] == 101

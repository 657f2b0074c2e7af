"""The sparse curve of the benchmarks: zeros that are put into a file, and where a curve crosses its dense one."""

from pathlib import Path

import numpy as np

from benchmarks.sparse_curve import SHARES, break_even, points, with_zeros
from export.micro.flatbuffer import parse_model

MODEL = Path(__file__).resolve().parents[2] / "data" / "tiny_relu6_nose.tflite"


def test_zeros_are_the_least_weights_of_each_point_convolution_and_nothing_else_changes():
    data = MODEL.read_bytes()
    changed = with_zeros(data, 0.75)
    before, after = parse_model(data), parse_model(changed)
    touched = {weights.index for weights, _ in points(before)}
    assert touched
    for old, new in zip(before.tensors, after.tensors, strict=True):
        if old.data is None or new.data is None:
            continue
        a, b = (np.frombuffer(np.ascontiguousarray(t.data), np.int8).astype(int) for t in (old, new))
        if old.index in touched:
            zeroed = (b == 0) & (a != 0)
            assert abs((b == 0).mean() - 0.75) < 0.02 or (a == 0).mean() > 0.75
            np.testing.assert_array_equal(b[~zeroed], a[~zeroed])
            assert not zeroed.any() or np.abs(a[zeroed]).max() <= np.abs(b[b != 0]).min()
        else:
            np.testing.assert_array_equal(a, b)
    assert with_zeros(data, 0.0) == data


def test_break_even_is_between_the_measured_shares():
    dense = [{"kernel": "dense", "instructions": 100} for _ in SHARES]
    sparse = [{"kernel": "sparse3", "instructions": 200 * (1 - share)} for share in SHARES]
    never = [{"kernel": "sparse4", "instructions": 101} for _ in SHARES]
    end = break_even([*dense, *sparse, *never], "sparse3")
    assert end is not None
    assert abs(end - 0.5) < 1e-9
    assert break_even([*dense, *never], "sparse4") is None

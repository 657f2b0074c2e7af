"""The compiled C behind the Runtime class: the reference kernels' bytes, and the fine output."""

import numpy as np
import pytest

from export import ExportError, load_runtime
from export.run.compiled import CompiledRuntime
from tests.export.compiler.host import ROOT, needs
from tests.export.compiler.nets import Net

TINY = ROOT / "tests" / "data" / "tiny_silu_se.tflite"
pytestmark = needs("cc")


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 64, 64, 3)).astype(np.float32)


def test_it_computes_what_the_reference_kernels_do():
    compiled, reference = CompiledRuntime(TINY), load_runtime(TINY, reference_kernels=True)
    assert (compiled.input_shape, compiled.output_size) == (reference.input_shape, reference.output_size)
    np.testing.assert_array_equal(compiled(images(5)), reference(images(5)))
    assert compiled(images(0)).shape == (0, 3)
    assert compiled.is_int8


def test_fine_output_is_within_half_a_step():
    fine, coarse = CompiledRuntime(TINY, fine=True), CompiledRuntime(TINY)
    difference = np.abs(fine(images(8)) - coarse(images(8)))
    assert 0 < difference.max() <= 0.501 * coarse.output_scale


def test_no_fine_output_without_a_dense_layer_at_the_end(tmp_path):
    net = Net(0)
    x = net.tensor([1, 4, 4, 1], 0.05)
    (tmp_path / "m.tflite").write_bytes(net.finish(x, net.unary("TANH", x, (1.0, 0))))
    with pytest.raises(ExportError, match="no fine output"):
        CompiledRuntime(tmp_path / "m.tflite", fine=True)


def test_without_a_compiler_the_message_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ExportError, match="needs a C compiler"):
        CompiledRuntime(TINY)

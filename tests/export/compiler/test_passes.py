"""Every pass is lossless: with each left out, and with none, the bytes stay."""

import numpy as np
import pytest

from export.compiler import PASSES, compile_model
from tests.export.compiler.host import ROOT, build, needs, random_inputs, reference

TINY = sorted((ROOT / "tests" / "data").glob("tiny_*.tflite"))


@needs("gcc")
@pytest.mark.parametrize("without", [*PASSES, "all"])
@pytest.mark.parametrize("path", TINY, ids=lambda path: path.stem)
def test_no_byte_depends_on_a_pass(path, without, tmp_path):
    passes = () if without == "all" else tuple(name for name in PASSES if name != without)
    compiled = compile_model(path, tmp_path, passes=passes)
    inputs = random_inputs(compiled, path.read_bytes(), 2)
    np.testing.assert_array_equal(build(compiled, tmp_path)(inputs), reference(path.read_bytes())(inputs))

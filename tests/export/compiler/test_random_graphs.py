"""Graphs that hypothesis makes up compile and give the bytes of TFLite's reference kernels."""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from export.compiler import compile_model
from tests.export.compiler.host import build, needs, random_inputs, reference, run_sanitized
from tests.export.compiler.nets import networks

pytestmark = needs("gcc")
QUIET = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


def check(model: bytes, sanitized: bool = False) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.tflite"
        path.write_bytes(model)
        compiled = compile_model(path, folder)
        inputs = random_inputs(compiled, model, 6)
        run = partial(run_sanitized, compiled, Path(folder)) if sanitized else build(compiled, Path(folder))
        answers = run(inputs)
    np.testing.assert_array_equal(answers, reference(model)(inputs))


@given(networks())
@settings(max_examples=45, **QUIET)
def test_random_graphs_give_the_bytes_of_the_reference_kernels(model):
    check(model)


@given(networks(steps=7))
@settings(max_examples=12, **QUIET)
def test_random_graphs_under_the_sanitizers(model):
    check(model, sanitized=True)


@pytest.mark.slow
@given(networks(steps=9))
@settings(max_examples=300, **QUIET)
def test_many_more_random_graphs(model):
    check(model, sanitized=True)

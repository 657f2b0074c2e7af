"""Models with few pieces of the kernels: none that is needed is missing, on the emulated Cortex-M4."""

import itertools

import numpy as np
import pytest

from export.compiler import compile_model
from export.compiler.arrange import arrange
from export.compiler.emulator.model import run_model
from export.compiler.read import read_graph
from export.compiler.source import kernel_source
from tests.export.compiler.emulated import needs_emulator
from tests.export.compiler.host import random_inputs, reference
from tests.export.compiler.nets import Net

BLOCKS = [(3, 1), (3, 2), (5, 1), (5, 2)]
"""Size and stride of the depthwise layer."""
ALL = {
    *(f"{unit}_{layout}" for unit in ("DENSE", "SPARSE") for layout in ("IMAGE", "ROWS")),
    *(f"DEPTHWISE_{layout}" for layout in ("TILES", "STRIPS")),
}


def block_net(block: tuple[int, int], side: int, zero_point: int, zeros: float, shortcut: tuple[float, int]) -> bytes:
    """One inverted residual block."""
    net = Net(side)
    first = net.tensor([1, side, side, 8], 0.05, -3)
    activation = "RELU" if zero_point == -128 else "NONE"
    how = {"out": (1.0, zero_point), "activation": activation}
    y = net.window(first, (24, 1, 1, 8), depthwise=False, zeros=zeros, **how)
    y = net.window(y, (1, block[0], block[0], 24), depthwise=True, stride=(block[1], block[1]), **how)
    y = net.window(y, (8, 1, 1, 24), depthwise=False, out=(1.0, -zero_point - 1), zeros=zeros)
    if net.shape(y) == net.shape(first):
        y = net.pairwise("ADD", first, y, shortcut)
    return net.finish(first, y)


@needs_emulator
@pytest.mark.parametrize("zeros", [0.0, 0.9])
@pytest.mark.parametrize("block", BLOCKS)
def test_a_model_of_one_block_has_what_it_needs(block, zeros, tmp_path):
    for side, zero_point in [(5, 4), (6, -128)]:  # pads of 0, 1 and 2
        model = block_net(block, side, zero_point, zeros, (1.0, 5))
        (tmp_path / "m.tflite").write_bytes(model)
        compiled = compile_model(tmp_path / "m.tflite", tmp_path)
        inputs = random_inputs(compiled, model, 2)
        run = run_model(compiled, [x.tobytes() for x in inputs])
        np.testing.assert_array_equal(run.outputs.view(np.int8), reference(model)(inputs))


@needs_emulator
def test_each_loop_of_an_add_is_there_where_it_is_needed(tmp_path):
    pieces = []
    for ratio, activation in [(1.0, "NONE"), (0.3, "NONE"), (3.0, "NONE"), (1e-4, "NONE"), (0.3, "RELU6")]:
        net = Net(1)
        first = net.tensor([1, 3, 3, 5], 5.0, 2)
        factor = ratio / (0.6 * np.sqrt(5))  # so that the scales of both are `ratio` apart
        other = net.window(first, (5, 1, 1, 5), depthwise=False, out=(factor, 2))
        model = net.finish(first, net.pairwise("ADD", first, other, (1.0, 3), activation))
        (tmp_path / "m.tflite").write_bytes(model)
        compiled = compile_model(tmp_path / "m.tflite", tmp_path)
        pieces += [piece for step in compiled.steps for piece in step.pieces if piece.startswith("ADD")]
        inputs = random_inputs(compiled, model, 3)
        run = run_model(compiled, [x.tobytes() for x in inputs])
        np.testing.assert_array_equal(run.outputs.view(np.int8), reference(model)(inputs))
    assert pieces == ["ADD_ALIKE", "ADD_FAST", "ADD_FAST", "ADD_ANY", "ADD_ANY"]


def test_what_steps_name_are_pieces_of_kernels_and_the_others_are_left_out(tmp_path):
    named = set()
    for block, side, zero_point, zeros in itertools.product(BLOCKS, (5, 6, 9), (-128, 4), (0.0, 0.9)):
        (tmp_path / "m.tflite").write_bytes(block_net(block, side, zero_point, zeros, (1.0, 5)))
        steps, _, _ = arrange(read_graph(tmp_path / "m.tflite"))
        named |= {piece for step in steps for piece in step.pieces}
    functions = {"dense_to_rows", "sparse3_to_rows", "depthwise_to_tiles", "add_images"}
    everything = kernel_source(functions, set())
    spared = {line.split()[1] for line in everything.splitlines() if line.startswith("#define") and line.endswith(" 0")}
    spared -= {"DSP_KERNELS"}
    assert ALL <= named <= spared
    assert {piece + "_POSITIVE" for piece in ALL} <= spared
    wanted = kernel_source(functions, {"DENSE_ROWS"})
    assert "#define DENSE_ROWS 0" not in wanted
    assert "#define DENSE_IMAGE 0" in wanted
    assert " 0\n#define" not in kernel_source(functions)

"""How long an interpreter takes for a model on a board, from counts of an emulated Cortex-M4: cycles for each operator.

The coefficients were fitted to instructions counted for six int8 EfficientNets (those of
tests/data/micro) in an emulated Cortex-M4 and turned into cycles by the rules of its manual, for two cases: TensorFlow
Lite Micro of 2026-08 with CMSIS-NN at -O2, and the Arduino libraries at -Os, which is what the Arduino IDE does. Of the
first they give the counts within 3 %, of the second too, but relu6_nose 14 % too slow; of two networks that were not
fitted (MLPerf Tiny's ResNet-8 and visual wake words) the first is 3 % low and 8 % high. A range of times goes from the
first case less MARGIN to the second and MARGIN more, so that all that was counted lies inside of it. No flash wait
states: a board may take longer. Boards other than a Cortex-M4 are scaled (boards.py) and were not counted.
"""

from __future__ import annotations

from export.micro.boards import OPS, Board, OpSupport
from export.micro.flatbuffer import Model, Op
from export.micro.unpacking import unpacked

Range = tuple[float, float]
"""(least, most)."""
MAC_CYCLES: Range = (2.03, 2.13)
"""A multiply-accumulate of a convolution or dense layer."""
OUTPUT_CYCLES: Range = (56.0, 106.0)
"""An output of these: its loop and its rounding."""
COLUMN_CYCLES: Range = (84.0, 113.0)
"""Larger convolutions than 1 x 1 first copy, for each output position, a part of the image for each kernel cell."""
DEPTHWISE_MAC_CYCLES: Range = (11.0, 14.9)
"""A multiply-accumulate of a depthwise convolution, all included."""
BROADCAST_MUL_CYCLES: Range = (185.0, 270.0)
"""An output of a MUL by one number a channel (squeeze-excitation): it takes the slow reference loop."""
MARGIN = 1.08
"""The greatest error on a network that was not fitted."""
_OTHER_OP = OpSupport("", 0)


def op_macs(model: Model, op: Op) -> int:
    """Multiply-accumulates of one op; 0 for all but convolutions and dense layers."""
    if op.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return 0
    weights = model.tensors[op.inputs[1]]
    channels = (weights.shape or (0,))[-1 if op.name == "DEPTHWISE_CONV_2D" else 0]
    return weights.elements // max(channels, 1) * model.tensors[op.outputs[0]].elements


def board_cycles(model: Model, board: Board) -> Range:
    """Estimated cycles with the newest kernels at -O2, and with the Arduino libraries as the Arduino IDE compiles.

    Weights that are unpacked on loading, as on Linux, take none.
    """
    once = unpacked(model).keys() if board.is_linux else set()
    cycles = [op_cycles(model, op) for op in model.ops if once.isdisjoint(op.outputs)]
    least, most = (sum(cycle[i] for cycle in cycles) * board.cycle_factor[i] for i in range(2))
    return least, most


def latency_ms_range(model: Model, board: Board) -> Range:
    """(least, most) milliseconds: from the first of these cases to the second, each widened by MARGIN."""
    return ms_range(board_cycles(model, board), board)


def ms_range(cycles: Range, board: Board) -> Range:
    """Cycles of the fastest and the slowest case -> milliseconds, widened by MARGIN."""
    least, most = (count / board.clock_mhz / 1000 for count in cycles)
    return round(least / MARGIN, 2), round(most * MARGIN, 2)


def op_cycles(model: Model, op: Op) -> Range:
    """(least, most) cycles of one op on a Cortex-M4."""
    if not op.outputs or not op.inputs or op.inputs[0] < 0:
        return 0.0, 0.0
    out, macs = model.tensors[op.outputs[0]], op_macs(model, op)
    if op.name == "DEPTHWISE_CONV_2D":
        return _times(DEPTHWISE_MAC_CYCLES, macs)
    if op.name in ("CONV_2D", "FULLY_CONNECTED"):
        parts = (_times(MAC_CYCLES, macs), _times(OUTPUT_CYCLES, out.elements), _column_cycles(model, op))
        return sum(part[0] for part in parts), sum(part[1] for part in parts)
    if op.name == "MUL" and any(i >= 0 and model.tensors[i].elements < out.elements for i in op.inputs):
        return _times(BROADCAST_MUL_CYCLES, out.elements)
    elements = model.tensors[op.inputs[0]].elements if op.name in ("MEAN", "SUM") else out.elements
    return _times(OPS.get(op.name, _OTHER_OP).cycles, elements)


def _column_cycles(model: Model, op: Op) -> Range:
    """Of the copies that a convolution with a larger kernel makes; none for 1 x 1 and dense layers."""
    kernel, out = model.tensors[op.inputs[1]].shape, model.tensors[op.outputs[0]].shape
    if op.name != "CONV_2D" or len(kernel) != 4 or len(out) != 4 or kernel[1] * kernel[2] == 1:
        return 0.0, 0.0
    return _times(COLUMN_CYCLES, out[1] * out[2] * kernel[1] * kernel[2])


def _times(cycles: Range, count: int) -> Range:
    return cycles[0] * count, cycles[1] * count

"""How much RAM TensorFlow Lite Micro takes for a model (its tensor arena), planned from the .tflite file alone.

The arena has two ends. Activations and the kernels' scratch buffers are placed from the start by a greedy planner:
largest first, into the lowest gap that is free for as long as the tensor lives. Bookkeeping that lasts (tensor and
node structs, each kernel's own data, per-channel multipliers) grows down from the end. Both are followed step by step:
memory_planner/greedy_memory_planner.cc, micro_allocation_info.cc and micro_allocator.cc of tensorflow/tflite-micro.
The struct sizes are those of its release of October 2026; other releases differ by a few bytes an op.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from export.errors import ModelFileError
from export.micro.flatbuffer import Model, Op, Tensor
from export.micro.unpacking import unpacked

ALIGNMENT = 16  # MicroArenaBufferAlignment()
ARENA_MARGIN = 0.03
"""Added to the planned arena: struct sizes differ between releases of TensorFlow Lite Micro. For relu6_pruned (in
tests/data/micro) 82,384 bytes are planned; on a Cortex-M4 the newest takes 82,372, the Arduino libraries 83,044."""
_MAX_BUFFERS = 5000  # placing is quadratic; no model for a microcontroller comes near


@dataclass(frozen=True)
class Target:
    """What of a processor and its kernels shapes the arena."""

    pointer_bytes: int
    cmsis_nn: bool
    unpacks_once: bool = False
    """Weights that the file packs are unpacked on loading and are no part of the arena."""


HOST = Target(pointer_bytes=8, cmsis_nn=False)  # the tflite-micro wheel: reference kernels on 64 bits
CORTEX_M = Target(pointer_bytes=4, cmsis_nn=True)
MCU_32 = Target(pointer_bytes=4, cmsis_nn=False)  # other 32-bit processors, reference kernels
LITERT = replace(MCU_32, unpacks_once=True)  # Linux: the same planning figures for activations


@dataclass(frozen=True)
class ArenaPlan:
    """Sizes in bytes; `arena_bytes` is what the interpreter takes, `reserved_bytes` what a sketch sets aside."""

    arena_bytes: int
    activations_bytes: int
    persistent_bytes: int
    largest_activation_bytes: int
    peak_op: int
    """Index of the op during which the most bytes are alive."""


def reserved_bytes(plan: ArenaPlan) -> int:
    """What a sketch sets aside for the arena: the plan and ARENA_MARGIN more, in whole multiples of the alignment."""
    return math.ceil(plan.arena_bytes * (1 + ARENA_MARGIN) / ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class _Buffer:
    """A part of the arena's start that is alive from step `first` to step `last`: 0 is the input, op i is i + 1."""

    size_bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class _Kernel:
    """What one op of a kind keeps at the arena's end: sizeof its options, of its OpData on 64 and on 32 bits."""

    options_bytes: int
    data_64_bytes: int
    data_32_bytes: int


# Per-channel multipliers and shifts come on top. 64 bits: as the wheel's allocator reports for each op; 32 bits: from
# the structs of the CMSIS-NN kernels.
_KERNELS = {
    "CONV_2D": _Kernel(28, 80, 60),
    "DEPTHWISE_CONV_2D": _Kernel(28, 80, 60),
    "FULLY_CONNECTED": _Kernel(32, 72, 84),
    "ADD": _Kernel(8, 60, 60),
    "SUB": _Kernel(8, 60, 60),
    "MUL": _Kernel(4, 36, 36),
    "MEAN": _Kernel(1, 44, 44),
    "SUM": _Kernel(1, 44, 44),
    "PAD": _Kernel(0, 56, 56),
    "LOGISTIC": _Kernel(0, 16, 16),
    "HARD_SWISH": _Kernel(0, 20, 20),
    "AVERAGE_POOL_2D": _Kernel(28, 48, 48),
    "MAX_POOL_2D": _Kernel(28, 48, 48),
    "RESHAPE": _Kernel(36, 0, 0),
}
_OTHER_KERNEL = _Kernel(16, 64, 64)
# The allocators, the planner and the interpreter's own structs, as measured: they do not depend on the model.
_FIXED_BYTES = {8: 528, 4: 132}


def plan_arena(model: Model, target: Target = CORTEX_M) -> ArenaPlan:
    """Plans the arena of the model's first subgraph. ModelFileError where it has more tensors than any such model."""
    buffers, peak_op = _buffers(model, target)
    activations = place_greedily(buffers)
    persistent = _persistent_bytes(model, target)
    # While planning, the arena's start holds the planner's tables instead: a floor for models with tiny tensors.
    # AllocationInfo for all tensors and scratch buffers, the planner's five lists for those that it places.
    info_bytes = 16 + 2 * target.pointer_bytes
    scratch_count = sum(len(_scratch_bytes(model, op, target)) for op in model.ops)
    planning = info_bytes * (len(model.tensors) + scratch_count) + 40 * len(buffers)
    largest = max((t.size_bytes for t in _activations(model, target)), default=0)
    return ArenaPlan(max(activations, planning) + persistent, activations, persistent, largest, peak_op)


def place_greedily(buffers: list[_Buffer]) -> int:
    """Bytes that the greedy planner needs for these buffers (GreedyMemoryPlanner::CalculateOffsetsIfNeeded)."""
    if len(buffers) > _MAX_BUFFERS:
        raise ModelFileError(f"the model has {len(buffers)} tensors; no microcontroller runs more than {_MAX_BUFFERS}")
    order = sorted(range(len(buffers)), key=lambda i: (-buffers[i].size_bytes, -i))  # ties: the later one first
    placed: list[tuple[int, _Buffer]] = []  # (offset, buffer), by offset
    end = 0
    for i in order:
        wanted = buffers[i]
        offset = 0
        for start, other in placed:
            if other.first > wanted.last or wanted.first > other.last:
                continue  # never alive together
            if start - offset >= wanted.size_bytes:
                break  # the gap before this one is wide enough
            offset = max(offset, start + other.size_bytes)
        position = next((k for k, (start, _) in enumerate(placed) if start > offset), len(placed))
        placed.insert(position, (offset, wanted))
        end = max(end, offset + wanted.size_bytes)
    return end


def _activations(model: Model, target: Target) -> list[Tensor]:
    """The tensors that are computed: no weights, packed or not."""
    weights = unpacked(model) if target.unpacks_once else {}
    return [tensor for tensor in model.tensors if not tensor.is_constant and tensor.index not in weights]


def _buffers(model: Model, target: Target) -> tuple[list[_Buffer], int]:
    """The buffers in the planner's order (tensors, then scratch buffers), and the op with most bytes alive."""
    first: dict[int, int] = dict.fromkeys((*model.inputs, *model.outputs), 0)
    last = dict(first)
    for step, op in enumerate(model.ops, start=1):
        for i in op.outputs:
            first[i] = last[i] = step
        for i in op.inputs:
            last[i] = step
    last.update(dict.fromkeys(model.outputs, len(model.ops)))
    # A tensor that no op touches is placed too, at a time of its own (-1).
    tensors = [t for t in _activations(model, target) if not t.is_variable and t.size_bytes]
    buffers = [_Buffer(_aligned(t.size_bytes), first.get(t.index, -1), last.get(t.index, -1)) for t in tensors]
    for step, op in enumerate(model.ops, start=1):
        buffers += [_Buffer(_aligned(size), step, step) for size in _scratch_bytes(model, op, target)]

    steps = len(model.ops) + 2
    change = [0] * (steps + 1)
    for buffer in buffers:
        change[buffer.first + 1] += buffer.size_bytes
        change[buffer.last + 2] -= buffer.size_bytes
    alive, most, peak_op = 0, -1, 0
    for step in range(-1, steps - 1):
        alive += change[step + 1]
        if step >= 1 and alive > most:
            most, peak_op = alive, step - 1
    return buffers, peak_op


def _scratch_bytes(model: Model, op: Op, target: Target) -> list[int]:
    """Sizes of the scratch buffers that the op's kernel asks for while it runs."""
    tensors = model.tensors
    if op.name in ("MEAN", "SUM"):
        image, axes = tensors[op.inputs[0]], tensors[op.inputs[1]]
        return [4 * tensors[op.outputs[0]].elements, 4 * len(image.shape), 4 * axes.elements]
    if not target.cmsis_nn or op.name not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return []
    image, kernel = tensors[op.inputs[0]], tensors[op.inputs[1]]
    if len(kernel.shape) == 4 and len(image.shape) == 4:
        _, height, width, _ = kernel.shape
        undilated = op.options["dilation_w"] == op.options["dilation_h"] == 1
        if op.name == "CONV_2D":  # arm_convolve_wrapper_s8_get_buffer_size: two columns of int16, none for 1 x 1
            columns = math.ceil(height * width * image.shape[3] / 4) * 4
            return [] if (height, width) == (1, 1) and undilated else [4 * columns]
        if undilated and image.shape[3] == kernel.shape[3] and (height, width) != (3, 3):
            return [2 * height * width * image.shape[3]]  # arm_depthwise_conv_s8_opt_get_buffer_size, DSP extension
    return []


def _persistent_bytes(model: Model, target: Target) -> int:
    """Follows the allocations from the arena's end in the interpreter's order, each with its alignment."""
    pointer = target.pointer_bytes
    used = 0

    def allocate(size: int, alignment: int) -> None:
        nonlocal used
        used = -(-(used + size) // alignment) * alignment

    allocate(_FIXED_BYTES[pointer], pointer)
    allocate(3 * pointer * len(model.tensors), pointer)  # TfLiteEvalTensor
    allocate(8 * pointer * len(model.ops), pointer)  # NodeAndRegistration
    for op in model.ops:
        allocate(_kernel(op).options_bytes, 4)
    for op in model.ops:
        allocate(_kernel(op).data_64_bytes if pointer == 8 else _kernel(op).data_32_bytes, ALIGNMENT)
    for op in model.ops:
        for size in 2 * [4 * _channels(model, op)]:  # multipliers, shifts
            allocate(size, ALIGNMENT)
    for tensor in model.tensors:
        if tensor.is_variable:
            allocate(tensor.size_bytes, ALIGNMENT)
    allocate(pointer * sum(len(_scratch_bytes(model, op, target)) for op in model.ops), pointer)
    for _ in (*model.inputs, *model.outputs):
        allocate(8 * pointer, pointer)  # TfLiteTensor
        allocate(3 * pointer + 8, pointer)  # its TfLiteAffineQuantization and zero point
    return -(-used // 8) * 8


def _kernel(op: Op) -> _Kernel:
    return _KERNELS.get(op.name, _OTHER_KERNEL)


def _channels(model: Model, op: Op) -> int:
    """Output channels for which the kernel keeps a multiplier and a shift; 0 where it keeps none."""
    if op.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return 0
    weights = model.tensors[op.inputs[1]]
    if not weights.shape or (op.name == "FULLY_CONNECTED" and weights.scales.size <= 1):
        return 0
    return weights.shape[-1] if op.name == "DEPTHWISE_CONV_2D" else weights.shape[0]


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT

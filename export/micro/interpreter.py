"""Does a model fit a board in its interpreter: TensorFlow Lite Micro, on Linux LiteRT? From the .tflite file alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from export.errors import ExportError
from export.micro.arena import ARENA_MARGIN, LITERT, ArenaPlan, plan_arena, reserved_bytes
from export.micro.boards import INTERPRETER_CODE_BYTES, OPS, Board, OpSupport, find_board
from export.micro.flatbuffer import Model, Op, read_model
from export.micro.latency import latency_ms_range, op_macs
from export.micro.tflm import check_int8, has_micro, micro_arena
from export.micro.unpacking import unpacked
from export.run.xnnpack import sparse_speed

LOGISTIC_TABLE_BYTES = 256
_OTHER_OP = OpSupport("", 6_000)
_FLOAT_NOTE = (
    "Times are estimated as for int8 and without regard to zeros, but the file computes in FLOAT32: `hpe bench` on the "
    "board measures them."
)
_MEAN_NOTE = (
    "The Arduino libraries' int8 MEAN rescales in float, LiteRT's in integers: an output may differ by one step. Nets "
    "with SiLU did; one with ReLU6 was equal on 128 of 128 images."
)


@dataclass(frozen=True)
class InterpreterFootprint:
    """The answer of `interpreter_footprint`; sizes in bytes, as they are on the board."""

    model: str
    board: str
    fits: bool
    verdict: str
    shortages: list[str]
    """Why it does not fit."""
    advice: list[str]
    model_bytes: int
    kernels_bytes: int
    flash_bytes: int
    """Model, interpreter and kernels, core and sketch."""
    flash_limit_bytes: int
    arena_bytes: int
    """As planned."""
    reserved_arena_bytes: int
    """What the sketch sets aside for it: ARENA_MARGIN more, since libraries differ."""
    host_arena_bytes: int | None
    """What TensorFlow Lite Micro itself takes on this computer (64 bits); None where its wheel is missing."""
    activations_bytes: int
    largest_activation_bytes: int
    ram_bytes: int
    """Reserved arena, frame buffer, core and sketch; on Linux the loaded model, too."""
    ram_limit_bytes: int
    macs: int
    ops: dict[str, int]
    unsupported_ops: list[str]
    latency_ms_range: tuple[float, float]
    """Least and most, see export.micro.latency."""
    library: str
    """What runs the model there."""
    notes: list[str]
    """What else to know before the figures are relied on."""


def interpreter_footprint(path: str | Path, board: str | Board) -> InterpreterFootprint:
    """Weighs the model against the board, a name in the table or a board with other figures.

    Raises ModelFileError for a damaged file or, on a microcontroller, one that is not int8 from end to end (one input,
    one output); ExportError for a board that is not in the table.
    """
    place = find_board(board) if isinstance(board, str) else board
    model = read_model(path)
    if not place.is_linux:
        check_int8(model)
    ops = Counter(_op_name(op) for op in model.ops)
    plan = plan_arena(model, place.target or LITERT)
    kernels = 0 if place.is_linux else _kernel_bytes(ops)
    flash = model.size_bytes + kernels + place.core_flash_bytes
    reserved = plan.arena_bytes if place.is_linux else reserved_bytes(plan)
    ram = reserved + place.frame_bytes + place.core_ram_bytes
    ram += _loaded_bytes(model) if place.is_linux else 0
    unsupported = [] if place.is_linux else unsupported_ops(model)
    host_arena = None
    if has_micro() and not place.is_linux and not unsupported:
        try:
            host_arena = micro_arena(path).arena_bytes
        except ExportError as error:  # an op that it knows, on types that it does not
            unsupported = [str(error).rstrip(".")]
    advice = _advice(model, plan, place, flash, ram, unsupported)
    shortages = place.shortages(flash - place.core_flash_bytes, ram - place.core_ram_bytes - place.frame_bytes)
    shortages += [f"its library cannot run {', '.join(unsupported)}"] if unsupported else []
    return InterpreterFootprint(
        model=str(path),
        board=place.name,
        fits=not advice,
        verdict=_verdict(place, flash, ram, shortages),
        shortages=shortages,
        advice=advice,
        model_bytes=model.size_bytes,
        kernels_bytes=kernels,
        flash_bytes=flash,
        flash_limit_bytes=place.flash_bytes,
        arena_bytes=plan.arena_bytes,
        reserved_arena_bytes=reserved,
        host_arena_bytes=host_arena,
        activations_bytes=plan.activations_bytes,
        largest_activation_bytes=plan.largest_activation_bytes,
        ram_bytes=ram,
        ram_limit_bytes=place.ram_bytes,
        macs=sum(op_macs(model, op) for op in model.ops),
        ops=dict(ops.most_common()),
        unsupported_ops=unsupported,
        latency_ms_range=latency_ms_range(model, place),
        library=place.library,
        notes=_notes(model, place),
    )


def unsupported_ops(model: Model) -> list[str]:
    """What the Arduino libraries of TensorFlow Lite Micro cannot run, or run wrongly, each once, with the reason."""
    found: dict[str, None] = {}
    for op in model.ops:
        name = _op_name(op)
        if name not in OPS:
            found[f"{name} (not in the board's library)"] = None
            continue
        tensors = [model.tensors[i] for i in (*op.inputs[:2], *op.outputs) if i >= 0]
        if any(t.type.startswith(("FLOAT", "BFLOAT")) for t in tensors):
            found[f"{name} in floating point (slow and large; export to int8)"] = None
        if any(t.is_sparse for t in tensors):
            found[f"{name} with sparse weights (export without sparsity)"] = None
        if name == "FULLY_CONNECTED" and model.tensors[op.inputs[1]].scales.size > 1:
            found["FULLY_CONNECTED with per-channel weights (the Arduino libraries compute it wrongly)"] = None
    return list(found)


def _kernel_bytes(ops: Counter[str]) -> int:
    """Flash for the interpreter, each kernel once, and the sketch's table for each LOGISTIC."""
    code = sum(OPS.get(name, _OTHER_OP).code_bytes for name in ops)
    return INTERPRETER_CODE_BYTES + code + LOGISTIC_TABLE_BYTES * ops["LOGISTIC"]


def _loaded_bytes(model: Model) -> int:
    """Linux reads the model into RAM and unpacks there what the file packs."""
    return model.size_bytes + sum(model.tensors[i].size_bytes for i in unpacked(model))


def _op_name(op: Op) -> str:
    return f"CUSTOM {op.custom_code}" if op.name == "CUSTOM" else op.name


def _notes(model: Model, board: Board) -> list[str]:
    """What may differ on the board from what was measured elsewhere."""
    notes = []
    rescaled = [op for op in model.ops if op.name == "MEAN" and _rescales(model, op)]
    if rescaled and board.uses_arduino_library:
        notes.append(_MEAN_NOTE)
    if board.is_linux and _computes_in_float(model):
        notes.append(_FLOAT_NOTE)
    if board.is_linux and (line := sparse_speed(model).line):
        notes.append(line + ".")
    return notes


def _computes_in_float(model: Model) -> bool:
    """Whether any of its layers with weights puts out floats."""
    return any(op_macs(model, op) and model.tensors[op.outputs[0]].type == "FLOAT32" for op in model.ops)


def _rescales(model: Model, op: Op) -> bool:
    source, result = model.tensors[op.inputs[0]], model.tensors[op.outputs[0]]
    return (source.scale, source.zero_point) != (result.scale, result.zero_point)


def _verdict(board: Board, flash: int, ram: int, shortages: list[str]) -> str:
    if shortages:
        return f"does not fit the {board.title}: {'; '.join(shortages)}"
    spare = f"{board.flash_bytes - flash:,} bytes of flash and {board.ram_bytes - ram:,} bytes of RAM to spare"
    return f"fits the {board.title}, with {spare}"


def _advice(model: Model, plan: ArenaPlan, board: Board, flash: int, ram: int, unsupported: list[str]) -> list[str]:
    """What to do about each reason why the model does not fit; empty where it fits."""
    advice = []
    if flash > board.flash_bytes:
        room = model.size_bytes - (flash - board.flash_bytes)
        share = 100 * (flash - board.flash_bytes) / model.size_bytes
        advice.append(
            f"Bring the .tflite file to {room:,} bytes ({share:.0f} % less): prune channels, which shrinks weights."
            if room > 0
            else "No model fits: core and kernels alone take more flash than the board has."
        )
    if ram > board.ram_bytes:
        room = int(plan.arena_bytes - (ram - board.ram_bytes) / (1 if board.is_linux else 1 + ARENA_MARGIN))
        advice.append(_arena_advice(model, plan, max(room, 0)))
    if unsupported:
        advice.append(
            "Export again to full int8 with dense layers per tensor (--formats int8); leave out: "
            + ", ".join(unsupported)
        )
    return advice


def _arena_advice(model: Model, plan: ArenaPlan, room: int) -> str:
    op = model.ops[plan.peak_op] if model.ops else None
    persistent = plan.arena_bytes - plan.activations_bytes
    text = f"Bring the arena from {plan.arena_bytes:,} to {room:,} bytes: "
    if op is None or persistent > plan.activations_bytes:
        saving = " Export without squeeze-excitation or with ReLU6 saves ops." if len(model.ops) > 100 else ""
        return text + (
            f"most of it is bookkeeping ({persistent:,} bytes: 100 an op, 8 an output channel), so prune channels "
            f"or use fewer ops ({len(model.ops)} now).{saving}"
        )
    alive = [model.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0 and not model.tensors[i].is_constant]
    shapes = ", ".join("x".join(map(str, t.shape)) for t in alive)
    hint = " SiLU keeps a third copy there: --act relu6 needs none." if op.name in ("LOGISTIC", "MUL") else ""
    return text + (
        f"the peak ({plan.activations_bytes:,} bytes alive) is at op {op.index} {op.name} ({shapes}), so prune the "
        f"channels of that stage.{hint}"
    )

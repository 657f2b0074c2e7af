"""What each engine takes for a model on a board: compiled C and TensorFlow Lite Micro; LiteRT on Linux."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from export.compiler.graph import CompileError
from export.compiler.size import compiled_size
from export.micro.boards import Board, find_board
from export.micro.flatbuffer import Model, read_model
from export.micro.interpreter import InterpreterFootprint, interpreter_footprint
from export.micro.latency import board_cycles, ms_range

TITLES = {"c": "compiled C", "tflm": "TensorFlow Lite Micro", "litert": "LiteRT"}
"""Engines, and what a reader calls them."""
Cost = dict[str, Any]
_COUNTED_BOARD = "counts of an emulated Cortex-M4, no flash wait states"
_SCALED_BOARD = "counts of an emulated Cortex-M4, scaled to this processor and not measured there"


def engine_costs(path: str | Path, board: str, count_code: bool = True) -> dict[str, Cost]:
    """Engine -> what the model takes with it on the board.

    Keys of each: flash_bytes (weights, engine and kernels), ram_bytes (buffer or arena; on Linux the model, too), both
    without the core, the sketch and the camera's frame, for which `fits` leaves room; cycles and ms, an estimate for
    gcc -O2 and the newest kernels (those of CMSIS-NN for TensorFlow Lite Micro, on equal terms); ms_range, see
    export.micro.latency; fits; reasons (why it does not fit); source (what each figure rests on). Where an engine
    does not take the model, all figures are None.

    count_code: let arm-none-eabi-gcc count the C's code, where it is installed (some seconds for a large model).
    Raises ModelFileError for a damaged file or, on a microcontroller, one that is not int8 from end to end; ExportError
    for a board that is not in the table.
    """
    place, model = find_board(board), read_model(path)
    interpreter = interpreter_cost(model, place, interpreter_footprint(path, place))
    if place.is_linux:
        return {"litert": interpreter}
    return {"c": c_cost(path, place, count_code), "tflm": interpreter}


def c_cost(path: str | Path, board: Board, count_code: bool = True) -> Cost:
    """Of the model as `hpe compile` writes it."""
    try:
        size = compiled_size(path, count_code)
    except CompileError as error:
        return _refused([str(error)], "the compiler refuses the model")
    reasons = board.shortages(size.flash_bytes, size.ram_bytes)
    how = "counted" if size.code_is_counted else "estimated"
    source = (
        f"RAM and constants exact; {size.code_bytes:,} bytes of code {how} (gcc -O2, Cortex-M4); cycles by the cost "
        f"model of the compiler from {_source(board)}"
    )
    cycles = size.cycles * board.c_factor[0], size.cycles * board.c_factor[1]
    return _cost(size.flash_bytes, size.ram_bytes, cycles, board, reasons, source)


def interpreter_cost(model: Model, board: Board, weighed: InterpreterFootprint) -> Cost:
    """Of TensorFlow Lite Micro, on Linux of LiteRT."""
    if weighed.unsupported_ops:
        return _refused([f"its library cannot run {', '.join(weighed.unsupported_ops)}"], "the library's operators")
    flash = weighed.model_bytes + weighed.kernels_bytes
    ram = weighed.ram_bytes - board.frame_bytes - board.core_ram_bytes
    memory = "size of the file" if board.is_linux else "size of the file, planning figures for the library's code"
    source = f"{memory}, planned arena; cycles by operator from {_source(board)}"
    return _cost(flash, ram, board_cycles(model, board), board, weighed.shortages, source)


def choose_engine(costs: dict[str, Cost]) -> tuple[str | None, str]:
    """(engine, why): of those that fit the fastest; None where none fits."""
    fitting = {name: cost for name, cost in costs.items() if cost["fits"]}
    if not fitting:
        return None, "; ".join(f"{TITLES[name]}: {', '.join(cost['reasons'])}" for name, cost in costs.items())
    best = min(fitting, key=lambda name: fitting[name]["ms"])
    others = [name for name in costs if name != best]
    return best, "; ".join(_why(best, other, costs) for other in others) or "the only engine there"


def _why(best: str, other: str, costs: dict[str, Cost]) -> str:
    if not costs[other]["fits"]:
        return f"{TITLES[other]} does not fit: {', '.join(costs[other]['reasons'])}"
    ours, theirs = costs[best], costs[other]
    saved = theirs["ram_bytes"] - ours["ram_bytes"]
    memory = f"{abs(saved):,} bytes of RAM {'less' if saved >= 0 else 'more'}"
    scaled = " (times scaled from another processor)" if _SCALED_BOARD in ours["source"] else ""
    return f"about {ours['ms']:.0f} ms where {TITLES[other]} takes {theirs['ms']:.0f}{scaled}, and {memory}"


def _source(board: Board) -> str:
    return _COUNTED_BOARD if board.cycle_factor == (1.0, 1.0) else _SCALED_BOARD


def _cost(flash: int, ram: int, cycles: tuple[float, float], board: Board, reasons: list[str], source: str) -> Cost:
    return {
        "flash_bytes": flash,
        "ram_bytes": ram,
        "cycles": round(cycles[0]),
        "ms": round(cycles[0] / board.clock_mhz / 1000, 2),
        "ms_range": ms_range(cycles, board),
        "fits": not reasons,
        "reasons": reasons,
        "source": source,
    }


def _refused(reasons: list[str], source: str) -> Cost:
    figures = dict.fromkeys(("flash_bytes", "ram_bytes", "cycles", "ms", "ms_range"))
    return {**figures, "fits": False, "reasons": reasons, "source": source}

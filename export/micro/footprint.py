"""Does a model fit a board, and with which engine? Flash, RAM, operators, MACs and estimated times, from the file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from export.micro.boards import Board, find_board
from export.micro.engines import TITLES, Cost, c_cost, choose_engine, interpreter_cost
from export.micro.flatbuffer import read_model
from export.micro.interpreter import InterpreterFootprint, interpreter_footprint


@dataclass(frozen=True)
class Footprint:
    """The answer of `footprint`."""

    model: str
    board: str
    fits: bool
    """With one engine at least."""
    engine: str | None
    """c, tflm or, on Linux, litert: the fastest of those that fit; None where none does."""
    why: str
    """Why this engine; or why none."""
    verdict: str
    advice: list[str]
    """What to do where none fits."""
    engines: dict[str, Cost]
    """What each engine takes, see export.micro.engines.engine_costs."""
    model_bytes: int
    macs: int
    ops: dict[str, int]
    flash_limit_bytes: int
    """Of the board, less the Arduino core and the sketch."""
    ram_limit_bytes: int
    """Of the board, less the core, the sketch, and the camera's frame."""
    notes: list[str]
    """What else to know before the figures are relied on."""
    interpreter: InterpreterFootprint
    """Arena, operators that its library lacks, and the like."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def footprint(path: str | Path, board: str) -> Footprint:
    """Weighs the model against the board, with each engine.

    Raises ModelFileError for a damaged file or, on a microcontroller, one that is not int8 from end to end (one input,
    one output); ExportError for a board that is not in the table.
    """
    place, model = find_board(board), read_model(path)
    weighed = interpreter_footprint(path, place)
    costs = {"litert" if place.is_linux else "tflm": interpreter_cost(model, place, weighed)}
    if not place.is_linux:
        costs = {"c": c_cost(path, place), **costs}
    engine, why = choose_engine(costs)
    flash_limit, ram_limit = place.flash_room_bytes, place.ram_room_bytes
    return Footprint(
        model=str(path),
        board=place.name,
        fits=engine is not None,
        engine=engine,
        why=why,
        verdict=_verdict(place, engine, costs, (flash_limit, ram_limit)),
        advice=[] if engine else [*_c_advice(costs.get("c"), (flash_limit, ram_limit)), *weighed.advice],
        engines=costs,
        model_bytes=model.size_bytes,
        macs=weighed.macs,
        ops=weighed.ops,
        flash_limit_bytes=flash_limit,
        ram_limit_bytes=ram_limit,
        notes=weighed.notes,
        interpreter=weighed,
    )


def _verdict(board: Board, engine: str | None, costs: dict[str, Cost], limits: tuple[int, int]) -> str:
    if engine is None:
        reasons = "; ".join(f"{TITLES[name]}: {', '.join(cost['reasons'])}" for name, cost in costs.items())
        return f"does not fit the {board.title}: {reasons}"
    flash, ram = limits[0] - costs[engine]["flash_bytes"], limits[1] - costs[engine]["ram_bytes"]
    spare = f"{flash:,} bytes of flash and {ram:,} bytes of RAM to spare"
    return f"fits the {board.title} with {TITLES[engine]}, {spare}"


def _c_advice(cost: Cost | None, limits: tuple[int, int]) -> list[str]:
    """What to do so that the compiled model fits."""
    if cost is None:
        return []
    if cost["flash_bytes"] is None:
        return [f"Compiled C: {cost['reasons'][0]}"]
    advice = []
    if cost["flash_bytes"] > limits[0]:
        advice.append(
            f"Compiled C: bring weights and code from {cost['flash_bytes']:,} to {limits[0]:,} bytes: prune the model; "
            "zeros in 1x1 layers count, too."
        )
    if cost["ram_bytes"] > limits[1]:
        advice.append(
            f"Compiled C: bring its buffer from {cost['ram_bytes']:,} to {limits[1]:,} bytes: take narrower layers or "
            "a smaller image; `hpe profile` shows what each layer takes."
        )
    return advice

"""`hpe footprint`: what a model takes on a board, noted in the result of its run, so that a page can filter by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from export.micro.engines import Cost
from export.micro.footprint import Footprint, footprint
from hpe.io.files import note_result
from hpe.model.zoo import INT8, resolve_file

FACTS = ("fits", "flash_bytes", "ram_bytes", "cycles", "ms")


def run_footprint(model: str | Path, board: str) -> Footprint:
    """Weigh a model against a board with each engine; of a run's int8 file result.json keeps it by board and engine.

    Raises:
        ExportError: for a damaged file, one that the board cannot run, or an unknown board.
    """
    file = resolve_file(model)
    answer = footprint(file, board)
    if file.name == INT8 and (file.parent / "result.json").exists():
        note_result(file.parent, "footprint", {answer.board: engine_facts(answer.engines)})
    return answer


def engine_facts(costs: dict[str, Cost]) -> dict[str, dict[str, Any]]:
    """What a result keeps of each engine's cost; an engine that does not take the model is left out."""
    return {
        engine: {"source": "estimated", **{name: cost[name] for name in FACTS}}
        for engine, cost in costs.items()
        if cost["flash_bytes"] is not None
    }

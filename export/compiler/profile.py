"""Where a compiled model spends time, flash and RAM: a row for each step, and the same for Model Explorer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from export.compiler.arrange import arrange
from export.compiler.cost import step_instructions
from export.compiler.read import read_graph
from export.compiler.step import Step


def profile_model(model: str | Path) -> list[dict[str, Any]]:
    """A row for each step of the compiled model, see profile_row; nothing is written or run.

    Raises:
        CompileError: the model, or an operator of it, is not one that the compiler takes.
        ModelFileError: no .tflite file, or a damaged one.
    """
    steps, _, _ = arrange(read_graph(model))
    return [profile_row(step) for step in steps]


def profile_row(step: Step) -> dict[str, Any]:
    """Operators of the file that the step stands for, its kernel, and what it takes; instructions by the cost model."""
    live, in_file = step.channels
    return {
        "operators": step.name,
        "kernel": step.kernel,
        "macs": step.macs,
        "instructions": round(step_instructions(step)),
        "flash_bytes": step.flash,
        "ram_bytes": step.ram,
        "scratch_bytes": step.scratch,
        "live_channels": live,
        "channels": in_file,
    }


def explorer_data(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Node data of Google's Model Explorer: the instructions of each step, at one operator that it stands for.

    That is its first, or where several steps stand for that one (a PAD that two convolutions read) the next. The format
    is that of model_explorer.node_data_builder (ai-edge-model-explorer 0.1.34, whose reader takes it): graph -> results
    by node, and colours for the least (stop 0) and the greatest value. Its TFLite adapter calls the graph `main` and
    each node by the operator's number in the file.
    """
    results: dict[str, dict[str, int]] = {}
    for row in rows:
        numbers = re.findall(r"(?:^|\+ )(\d+) ", row["operators"])
        results[next(number for number in numbers if number not in results)] = {"value": row["instructions"]}
    colours = [{"stop": 0.0, "bgColor": "#ffffff"}, {"stop": 1.0, "bgColor": "#d62728"}]
    return {"main": {"name": "instructions as compiled C", "results": results, "gradient": colours}}

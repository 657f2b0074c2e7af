"""One sketch to write: which kind, where, of which model, for which board and engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from export.compiler.limits import Limits
from export.micro.boards import Board
from export.micro.flatbuffer import Model


@dataclass(frozen=True)
class Job:
    """One sketch to write."""

    kind: str
    """head_pose or any_model: the folder of arduino/ that its sources come from."""
    out: Path
    model: Model
    board: Board
    """Without a camera's frame where the sketch has none."""
    engine: str
    """c or tflm."""
    limits: Limits
    """What the model may take; for the engine c."""

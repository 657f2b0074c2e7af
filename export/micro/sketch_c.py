"""The generated files of a sketch that runs its model as plain C: head_pose_model.c and head_pose_model.h."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from export.compiler.compile import Compiled, compile_model
from export.compiler.limits import CODE_BYTES
from export.errors import ExportError
from export.micro.boards import Board
from export.micro.flatbuffer import Model
from export.micro.sketch_text import generated

NAME = "head_pose_model"
"""Begins the names of the files and of the functions in them."""


def c_files(model: Model, board: Board) -> dict[str, str]:
    """The compiled model. Raises ExportError for one that the compiler does not take or that does not fit the board."""
    with TemporaryDirectory() as folder:
        compiled = compile_model(model.path, folder, NAME)
        texts = {file.name: file.read_text(encoding="utf-8") for file in compiled.files}
    _check_fits(Path(model.path), compiled, board)
    return {name: f"{generated(model)}\n{text}" for name, text in texts.items()}


def _check_fits(path: Path, compiled: Compiled, board: Board) -> None:
    flash = compiled.flash_bytes + CODE_BYTES
    ram = compiled.ram_bytes
    rows = (
        ("flash", flash, board.core_flash_bytes, board.flash_bytes, "Prune the model"),
        ("RAM", ram, board.core_ram_bytes + board.frame_bytes, board.ram_bytes, "Take narrower layers"),
    )
    for memory, needed, others, limit, remedy in rows:
        if needed + others > limit:
            raise ExportError(
                f"{path} does not fit the {board.title}: {memory} is {needed + others - limit:,} bytes short (the "
                f"model takes {needed:,}, the Arduino core and the sketch {others:,}, of {limit:,}). {remedy}: "
                "`hpe profile` shows what each layer takes."
            )

"""The generated files of a sketch that runs its model as plain C: model.c and model.h."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from export.compiler.compile import Compiled, compile_model
from export.compiler.limits import NO_LIMITS, Limits, largest, most_flash
from export.errors import ExportError
from export.micro.boards import Board
from export.micro.flatbuffer import Model
from export.micro.sketch_text import generated

NAME = "model"
"""Begins the names of the files and of the functions in them."""
_OUTPUT_BYTES = 5
"""Of the sketch's own RAM for each output: a float and an int8."""
_FINE_OUTPUT_BYTES = 8
"""The same where the model has sums that SKETCH_FINE of src/config.h may ask for: a float and an int32."""


def c_files(model: Model, board: Board, limits: Limits = NO_LIMITS) -> dict[str, str]:
    """The compiled model, which may take `limits` at most.

    Raises ExportError for a model that the compiler does not take or that does not fit the board or the limits.
    """
    with TemporaryDirectory() as folder:
        compiled = compile_model(model.path, folder, NAME, limits)
        texts = {file.name: file.read_text(encoding="utf-8") for file in compiled.files}
    _check_fits(Path(model.path), compiled, board)
    return {name: f"{generated(model)}\n{text}" for name, text in texts.items()}


def _check_fits(path: Path, compiled: Compiled, board: Board) -> None:
    output_bytes = _OUTPUT_BYTES if compiled.fine_scales is None else _FINE_OUTPUT_BYTES
    ram_room = board.ram_room_bytes - output_bytes * compiled.output_bytes
    rows = (
        ("flash", most_flash(compiled.steps), board.flash_room_bytes, board.flash_bytes, "Prune the model"),
        ("ram", compiled.ram_bytes, ram_room, board.ram_bytes, "Take narrower layers"),
    )
    for memory, needed, room, limit, remedy in rows:
        if needed > room:
            raise ExportError(
                f"{path} does not fit the {board.title}: {memory if memory == 'flash' else 'RAM'} is "
                f"{needed - room:,} bytes short (the model takes {needed:,}, the Arduino core and the sketch "
                f"{limit - room:,}, of {limit:,}). Most of it: {largest(compiled.steps, memory)}. {remedy}: "
                "`hpe profile` shows what each layer takes."
            )

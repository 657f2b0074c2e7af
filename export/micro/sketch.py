"""Write an Arduino sketch that runs a given int8 model: the fixed sources of arduino/ and what is generated.

Two engines run a model. `c`: the model as plain C (head_pose_model.{c,h}), no library. `tflm`: the model's bytes
(model_data.{h,cpp}) in TensorFlow Lite Micro, with the operators that it uses (op_resolver.h). Both have a generated
model_settings.h (sizes, quantisation, decoding) and the same sources but for src/engine.h, which the .ino calls.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from export.errors import ExportError
from export.files import write_all
from export.micro.arena import ARENA_MARGIN, plan_arena, reserved_bytes
from export.micro.boards import Board, find_board
from export.micro.flatbuffer import Model, ModelFileError, read_model
from export.micro.sketch_c import NAME, c_files
from export.micro.sketch_text import GENERATED, generated, one_line, rows
from export.micro.sketch_tflm import tflm_files
from export.micro.tflm import check_int8

ENGINES = ("c", "tflm")
ANGLES = ("yaw", "pitch", "roll")
WIRED_FOR = "nano33ble"
"""The boards whose camera, core and name the sketch's README speaks of."""
README_TITLE = "# head_pose: "
"""How that README begins; another one is the user's and stays."""
_OWN_FILES = {
    "c": (f"{NAME}.c", f"{NAME}.h"),
    "tflm": ("model_data.h", "model_data.cpp", "op_resolver.h", "src/logistic_table.h"),
}
"""What only one of the engines has."""
_ARENA = "constexpr unsigned long kTensorArenaBytes = {};  // planned, and {:.0%} more\n"
_COMMON_README = "## Images from a PC"
"""From this heading on the README of arduino/head_pose is true of both engines."""


def write_arduino(
    model_path: str | Path, out_dir: str | Path, board: str, settings: Mapping[str, Any], engine: str = "c"
) -> list[Path]:
    """Writes the sketch folder `out_dir` (its .ino takes the folder's name, as Arduino wants) and returns its files.

    settings: "mean" and "std" (three numbers each, for red, green, blue on the 0..1 scale), "pose_order" (what the
    first three outputs are, e.g. ["yaw", "pitch", "roll"]), "units" ("degrees" or "radians") and, if wanted, "note" (a
    line about the model, for instance its measured accuracy). engine: one of ENGINES.
    Raises ModelFileError for a damaged or float model, ExportError for a board, an engine or a setting that is none and
    for a model that does not fit the board, ExportError where a link stands in the sketch's folder. Nothing is written
    then. A src/config.h that is there, and a README.md of the user's own, stay as they are and are not returned. What
    an earlier call generated for the other engine is removed.
    """
    place = find_board(board)
    if engine not in ENGINES:
        raise ExportError(f"There is no engine {engine!r}; choose one of {', '.join(ENGINES)}.")
    if place.target is None:
        raise ExportError(f"The {place.title} runs the .tflite file itself: use `hpe predict` there, not a sketch.")
    out = Path(out_dir)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", out.resolve().name):
        raise ExportError(f"Arduino wants sketch folders named with letters, digits, '_', '.' and '-', unlike {out}.")
    model = check_int8(read_model(model_path))
    _check_shapes(model)
    files = _fixed_files(engine)
    if engine == "c":
        files |= c_files(model, place)
        arena = None
    else:
        files |= tflm_files(model, Path(model_path).read_bytes(), place)
        arena = reserved_bytes(plan_arena(model, place.target))
    files["model_settings.h"] = _model_settings(model, arena, settings)
    files[f"{out.resolve().name}.ino"] = files.pop("head_pose.ino")
    if not board.startswith(WIRED_FOR):
        files["README.md"] = _for_another_board(files["README.md"], place, engine)
    _refuse_links(out, files)
    written = write_all({out / name: text for name, text in files.items() if not _is_the_users(out, name)})
    _remove_other_engine(out, engine)
    return written


def _remove_other_engine(out: Path, engine: str) -> None:
    """The Arduino IDE compiles every file of the folder: those that were written for the other engine must go."""
    for other in ENGINES:
        for name in _OWN_FILES[other] if other != engine else ():
            path = out / name
            with suppress(OSError):
                if name.startswith("src/") or path.read_text(encoding="utf-8", errors="replace").startswith(GENERATED):
                    path.unlink()


def _refuse_links(out: Path, files: Iterable[str]) -> None:
    """A link inside the sketch's folder would carry what is written to some other place."""
    for name in files:
        for place in (out / name, *(out / name).parents):
            if place == out:
                break
            if place.is_symlink():
                raise ExportError(f"{place} is a link; nothing was written. Remove it, or give another --out.")


def _is_the_users(out: Path, name: str) -> bool:
    """Whether a file that is there stays: src/config.h, which is made to be edited, and a README of their own."""
    path = out / name
    if name == "README.md" and path.is_file():
        return not path.read_text(encoding="utf-8", errors="replace").startswith(README_TITLE)
    return name == "src/config.h" and path.is_file()


def _for_another_board(readme: str, board: Board, engine: str) -> str:
    """The README, with a word on what in it is true of the Nano 33 BLE Sense only."""
    first, rest = readme.split("\n", 1)
    places, library = ("two places", "") if engine == "c" else ("three places", f", and the library: {board.library}")
    return f"""{first}

**This folder was written for another board: {board.title}.** What follows names the Nano 33 BLE Sense in {places}:
the camera's wiring and its library (here take images from a PC, or write your own src/camera_source.cpp), the core and
the name that arduino-cli takes for the board{library}.
{rest}"""


def quantize_table(mean: Iterable[float], std: Iterable[float], scale: float, zero_point: int) -> np.ndarray:
    """int8 (3, 256): what the model's input takes for each value of red, green, blue.

    Normalisation (v / 255 - mean) / std and quantisation in one, in float32 and rounded as `export.run.runtime` does.
    """
    values = np.arange(256, dtype=np.float32) / np.float32(255)
    mean_rgb = np.asarray(list(mean), np.float32)[:, None]
    std_rgb = np.asarray(list(std), np.float32)[:, None]
    scaled = (values - mean_rgb) / std_rgb / np.float32(scale)  # (3, 256)
    rounded = np.trunc(scaled) + np.where(np.abs(scaled - np.trunc(scaled)) >= 0.5, np.sign(scaled), 0)
    return np.clip(rounded + zero_point, -128, 127).astype(np.int8)


def _check_shapes(model: Model) -> None:
    shape, outputs = model.input.shape, model.output.shape
    if len(shape) != 4 or shape[0] != 1 or shape[1] != shape[2] or shape[3] != 3:
        raise ModelFileError(f"{model.path} takes {list(shape)}; the sketch feeds one square RGB image [1, S, S, 3].")
    if len(outputs) != 2 or outputs[0] != 1 or outputs[1] < 3:
        raise ModelFileError(f"{model.path} returns {list(outputs)}; the sketch reads three angles, first of [1, 3].")


def _model_settings(model: Model, arena_bytes: int | None, settings: Mapping[str, Any]) -> str:
    mean, std = _three_numbers(settings, "mean"), _three_numbers(settings, "std")
    if min(std) <= 0:
        raise ExportError(f"settings['std'] must be positive, not {std}.")
    order = [str(name) for name in settings.get("pose_order", ())]
    if sorted(order) != sorted(ANGLES):
        raise ExportError(f"settings['pose_order'] must name yaw, pitch and roll once each, not {order}.")
    units = settings.get("units")
    if units not in ("degrees", "radians"):
        raise ExportError(f"settings['units'] must be 'degrees' or 'radians', not {units!r}.")
    degrees = 1.0 if units == "degrees" else 180 / math.pi
    tensor_in, tensor_out = model.input, model.output
    table = quantize_table(mean, std, tensor_in.scale, tensor_in.zero_point)
    note = one_line(str(settings.get("note", "")))
    arena = "" if arena_bytes is None else _ARENA.format(arena_bytes, ARENA_MARGIN)
    indices = ", ".join(str(order.index(name)) for name in ANGLES)
    return f"""{generated(model)}{f"{chr(10)}// {note}" if note else ""}
#ifndef HEAD_POSE_MODEL_SETTINGS_H_
#define HEAD_POSE_MODEL_SETTINGS_H_

#include "src/image.h"
#include "src/pose.h"

namespace head_pose {{

constexpr int kImageSize = {tensor_in.shape[1]};
constexpr int kOutputs = {tensor_out.elements};
{arena}
constexpr float kInputScale = {_float(tensor_in.scale)};
constexpr int kInputZeroPoint = {tensor_in.zero_point};

// scale, zero point, degrees per unit, and which output is yaw, pitch, roll
constexpr PoseCode kPoseCode = {{{_float(tensor_out.scale)}, {tensor_out.zero_point}, {_float(degrees)}, {indices}}};

// (value / 255 - mean) / std, quantised; mean {mean}, std {std}
constexpr QuantizeTable kQuantizeTable = {{
{rows(table)}}};

}}  // namespace head_pose

#endif  // HEAD_POSE_MODEL_SETTINGS_H_
"""


def _three_numbers(settings: Mapping[str, Any], key: str) -> list[float]:
    try:
        numbers = [float(value) for value in settings[key]]
    except (KeyError, TypeError, ValueError):
        numbers = []
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise ExportError(f"settings[{key!r}] must hold three numbers (red, green, blue), not {settings.get(key)!r}.")
    return numbers


def _float(value: float) -> str:
    """A C++ float literal that reads back as the same float32."""
    text = f"{np.float32(value):.9g}"
    return (text if any(c in text for c in ".e") else f"{text}.0") + "f"


def _sketch_folders() -> tuple[Path, Path]:
    """The fixed sources and those of the engine c alone: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    arduino = here.parents[1] / "arduino"
    for common, engine_c in (
        (here.parent / "_sketch", here.parent / "_sketch_c"),
        (arduino / "head_pose", arduino / "engine_c"),
    ):
        if (common / "head_pose.ino").is_file() and (engine_c / "engine.h").is_file():
            return common, engine_c
    raise ExportError("The sketch's sources (arduino/) are missing; install the package again.")


def _fixed_files(engine: str) -> dict[str, str]:
    """The .ino, the README and src/; the engine c has a src/engine.h and a beginning of the README of its own."""
    folder, engine_c = _sketch_folders()
    paths = [folder / "head_pose.ino", folder / "README.md", *sorted((folder / "src").glob("*.*"))]
    files = {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    if engine == "c":
        for name in _OWN_FILES["tflm"]:
            files.pop(name, None)
        files["src/engine.h"] = (engine_c / "engine.h").read_text(encoding="utf-8")
        common = files["README.md"][files["README.md"].index(_COMMON_README) :]
        files["README.md"] = (engine_c / "README.md").read_text(encoding="utf-8") + common
    return files

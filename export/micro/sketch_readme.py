"""The README of a sketch: what is true of its model, its engine and its board."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from export.micro.flatbuffer import Model
from export.micro.sketch_job import Job
from export.micro.sketch_settings import output_digits, takes_image
from export.micro.sketch_text import one_line

TITLES = {"head_pose": "# head_pose: ", "any_model": "# any_model: "}
"""How the README of each kind begins; another one is the user's and stays."""
WIRED_FOR = "nano33ble"
"""The boards whose camera, core and name the READMEs speak of."""
_COMMON = "## Images from a PC"
"""From this heading on the README of arduino/head_pose is true of both engines."""
_LIBRARIES = "## Libraries"
_NO_LIBRARY = "None: no TensorFlow Lite, only the board's Arduino core."
_HOW = {"c": "as plain C that needs no library", "tflm": "in TensorFlow Lite Micro"}
_FILES = {
    "c": "| `model.*`, `model_settings.h` | generated for one model: the network as C, its numbers |",
    "tflm": """\
| `src/logistic_table.h` | LOGISTIC from a table: same bytes, far fewer cycles |
| `model_data.*`, `model_settings.h`, `op_resolver.h` | generated for one model: its bytes, numbers, operators |""",
}


def head_pose_readme(folder: Path, job: Job, settings: Mapping[str, Any], memory: str) -> str:
    """Of the sketch head_pose; the engine tflm has a beginning of its own."""
    text = (folder / "head_pose" / "README.md").read_text(encoding="utf-8")
    if job.engine == "tflm":
        text = _tflm(folder) + text[text.index(_COMMON) :]
    camera = "the camera's wiring and library (here take images from a PC, or write your own src/camera_source.cpp)"
    return _for_board(text, job, [camera])


def plain_readme(folder: Path, job: Job, settings: Mapping[str, Any], memory: str) -> str:
    """Of the sketch any_model.

    Args:
        memory: how the first line that the sketch prints says what the model takes.
    """
    model, tflm = job.model, job.engine == "tflm"
    example, meaning = _line(model, settings)
    text = Template((folder / "any_model" / "README.md.in").read_text(encoding="utf-8")).substitute(
        model=one_line(Path(model.path).name),
        how=_HOW[job.engine],
        memory=memory,
        example=example,
        meaning=meaning,
        input_bytes=model.input.elements,
        outputs=model.output.elements,
        frame=_frame(model, settings),
        **_values(takes_image(settings)),
        files=_FILES[job.engine],
        engine_option=" --engine tflm" if tflm else "",
        libraries=_tflm(folder).partition(_LIBRARIES)[2].strip() if tflm else _NO_LIBRARY,
    )
    return _for_board(text, job, [])


def _tflm(folder: Path) -> str:
    """What differs in a README for TensorFlow Lite Micro."""
    return (folder / "engine_tflm" / "README.md").read_text(encoding="utf-8")


def _line(model: Model, settings: Mapping[str, Any]) -> tuple[str, str]:
    """An example of an answer without the time and the sequence byte, and what it says."""
    decimals, exponent = output_digits(model)
    value = f"{12 / 10**decimals:.{decimals}f}" + (f"e{exponent}" if exponent else "")
    count = model.output.elements
    if settings.get("labels") is not None:
        return f"LABEL,{value}", "the label of the highest output, that output"
    real = f"as real numbers (one step of an int8 is {model.output.scale:.6g})"
    values = ",".join([value] * min(count, 3)) + (",..." if count > 3 else "")
    return values, f"the {count} outputs {real}" if count > 1 else f"the output as a real number {real[16:]}"


def _frame(model: Model, settings: Mapping[str, Any]) -> str:
    source = model.input
    shape = " x ".join(map(str, source.shape[1:]))
    if takes_image(settings):
        return (
            f"the image's {source.elements} bytes ({shape}: rows, columns, channels; 0 to 255),\n  which the sketch "
            "normalises and quantises"
        )
    return (
        f"the model's input, {source.elements} int8 values ({shape}; the last axis varies fastest):\n  "
        f"real value / {source.scale:.9g}, rounded, + {source.zero_point}"
    )


def _values(image: bool) -> dict[str, str]:
    """What a frame's bytes are, and what its CRC-32 is of, see arduino/head_pose/src/frame_parser.h."""
    if image:
        return {"dtype": "uint8", "other_dtype": "int8", "summed": "both"}
    return {"dtype": "int8", "other_dtype": "uint8", "summed": "the letters `int8` and both"}


def _for_board(readme: str, job: Job, places: list[str]) -> str:
    """The README, with a word on what in it is true of the Nano 33 BLE Sense only."""
    board = job.board
    if board.name.startswith(WIRED_FOR):
        return readme
    first, rest = readme.split("\n", 1)
    places = [*places, "the core and the name that arduino-cli takes for the board"]
    if job.engine == "tflm":
        places.append(f"the library: {board.library}")
    return f"""{first}

**This folder was written for another board: {board.title}.** What follows names the Nano 33 BLE Sense in some places:
{"; ".join(places)}.
{rest}"""

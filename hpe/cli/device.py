"""The commands that run a finished model: on this machine, on a board, over a serial line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import FlagCreatePairsOff, Positional, arg

from hpe.cli.output import Json, Model, write_result
from hpe.cli.predict import predict
from hpe.io.processes import say


def footprint(model: Positional[Model], board: str = "nano33ble", json: Json = None) -> None:
    """Does a model fit a board, and with which engine? Flash, RAM, operators, estimated time; exit 1 if it does not.

    Engines: c, the model compiled to plain C; tflm, TensorFlow Lite Micro; LiteRT on a Raspberry Pi. Times are those of
    gcc -O2 and the newest kernels; their range goes on to the Arduino IDE's -Os and libraries. What is found of a
    run's int8 file is kept in its result.json, for `hpe report`. A microcontroller's RAM leaves room for a camera's
    frame of 38,400 bytes, which the sketch of `hpe deploy` for a net without angles does not take.

    Args:
        model: A run folder (its int8 file), a .tflite file, or the name of a released model; microcontrollers need
            full int8.
        board: The board, for instance nano33ble, rp2040, esp32-s3, pi4; a wrong name lists them all.
        json: Write the numbers here.
    """
    from hpe.deploy.footprint import run_footprint

    answer = run_footprint(model, board)
    say(f"{model} {answer.verdict}")
    if answer.engine is not None:
        say(f"engine {answer.engine}: {answer.why}")
    say(f"{'engine':<7} {'flash':>13} {'RAM':>13} {'ms':>6} (range)")
    say(f"{'room':<7} {answer.flash_limit_bytes:>13,} {answer.ram_limit_bytes:>13,}")
    for name, cost in answer.engines.items():
        say(_engine_line(name, cost))
    say(f"{answer.macs:,} MACs, {sum(answer.ops.values())} operators, file {answer.model_bytes:,} bytes")
    for line in (*answer.notes, *answer.advice):
        say(f"- {line}")
    write_result(json, answer.to_json())
    if not answer.fits:
        sys.exit(1)


def _engine_line(name: str, cost: dict[str, Any]) -> str:
    fits = "fits" if cost["fits"] else f"does not fit: {', '.join(cost['reasons'])}"
    if cost["flash_bytes"] is None:
        return f"{name:<7} {fits}"
    time = "{:.0f} to {:.0f}".format(*cost["ms_range"])
    return f"{name:<7} {cost['flash_bytes']:>13,} {cost['ram_bytes']:>13,} {cost['ms']:>6.0f} ({time})  {fits}"


def deploy(
    model: Positional[Model],
    out: Path,
    board: str = "nano33ble",
    engine: Literal["c", "tflm"] = "c",
    labels: Annotated[Path | None, arg(metavar="FILE")] = None,
    flash: Annotated[int | None, arg(metavar="BYTES")] = None,
    ram: Annotated[int | None, arg(metavar="BYTES")] = None,
) -> None:
    """Write a complete Arduino sketch that runs a model. Example: hpe deploy b0-nano --out head_pose_nano

    A released model, or one whose metadata (MODEL.json beside it) name yaw, pitch and roll, gets a sketch that prints
    angles; any other int8 model gets one that takes its input over serial and prints its outputs.

    Args:
        model: A run folder (its int8 file), a full-int8 .tflite file, or the name of a released model.
        out: Folder of the sketch; its name becomes the sketch's name.
        board: The board, for instance nano33ble; a wrong name lists them all.
        engine: What runs the model: c, the model as plain C as `hpe compile` writes it, which needs no library and
            prints angles without steps; or tflm, TensorFlow Lite Micro, an Arduino library.
        labels: What the outputs of a classifier mean, one label a line: the sketch prints the highest output's label
            and value.
        flash: Refuse a model that takes more flash than this, code included, though the board has it (engine c).
        ram: Refuse a model that takes more RAM than this, its input included, though the board has it (engine c).
    """
    from export.compiler import Limits
    from hpe.deploy.sketch import run_deploy

    deployed = run_deploy(model, out, board, engine, labels, Limits(flash, ram))
    for file in deployed.files:
        say(str(file))
    for kept in (out / "src" / "config.h", out / "README.md"):
        if kept not in deployed.files:
            say(f"{kept}: kept as it was; delete it first to have it written")
    for note in deployed.notes:
        say(f"- {note}")
    say(f"next: open {out} in the Arduino IDE, choose the board, upload; {out / 'README.md'} says more")


def compile_c(
    model: Positional[Model],
    out: Path,
    name: Annotated[str | None, arg(metavar="NAME")] = None,
    flash: Annotated[int | None, arg(metavar="BYTES")] = None,
    ram: Annotated[int | None, arg(metavar="BYTES")] = None,
    small: Annotated[bool, FlagCreatePairsOff] = False,
    json: Json = None,
) -> None:
    """Write a model as plain C99 that needs no library. Example: hpe compile b0-nano --out firmware

    The C gives the same bytes as TensorFlow Lite's reference kernels, and uses the DSP instructions of a Cortex-M4.

    Args:
        model: A run folder (its int8 file), a full-int8 .tflite file of one input and one output, or the name of a
            released model.
        out: Folder for NAME.c and NAME.h.
        name: Begins the names of files and functions; left out, the model's own.
        flash: Refuse a model that takes more flash, code included.
        ram: Refuse a model that takes more RAM, its input included.
        small: Less flash for more time: codes of 4 bits for layers of at most 16 different weights an output.
        json: Write sizes, and what was done for each operator, here.
    """
    from export.compiler import PASSES, SMALL, Limits, compile_model
    from hpe.model.zoo import resolve_file

    compiled = compile_model(resolve_file(model), out, name, Limits(flash, ram), SMALL if small else PASSES)
    for file in compiled.files:
        say(str(file))
    say(f"RAM {compiled.ram_bytes:,} bytes, the input's {compiled.input_bytes:,} included")
    say(f"flash {compiled.flash_bytes:,} bytes and the code; {compiled.macs:,} multiply-accumulates")
    for note in compiled.notes:
        say(f"- {note}")
    say(f"next: add both files to your project and call {compiled.name}_run(input, output)")
    write_result(json, compiled.to_json())


def web(model: Positional[Model], out: Path) -> None:
    """Write an HTML file in which a model follows a face before the camera. Example: hpe web b0-pi --out face.html

    It needs no server and no network, and sends nothing: the sketch of `hpe deploy`, the model in it, is compiled to
    WebAssembly by clang, and says in the browser what it says on a board.

    Args:
        model: A run folder (its int8 file) or a full-int8 .tflite file that locates the face (`--locate`), or the name
            of a released one.
        out: The HTML file.
    """
    from hpe.deploy.web.build import write_web_page

    page = write_web_page(model, out)
    say(f"{page}: {page.stat().st_size:,} bytes")
    say(f"next: open {page} in a browser and start the camera")


def profile(
    model: Positional[Model],
    explorer: Annotated[Path | None, arg(metavar="FILE")] = None,
    json: Json = None,
) -> None:
    """Show what each layer of a compiled model takes on a Cortex-M4. Example: hpe profile b0-nano

    Instructions come from a cost model that was fitted to exact counts of an emulated processor (1 % off for a whole
    network); cycles are 1.4 times as many, and flash wait states come on top.

    Args:
        model: A run folder (its int8 file), a full-int8 .tflite file of one input and one output, or the name of a
            released model.
        explorer: Write the instructions as node data for Model Explorer here (.json).
        json: Write the rows here.
    """
    from export.compiler import explorer_data, profile_model
    from hpe.model.zoo import resolve_file

    rows = profile_model(resolve_file(model))
    say(f"{'instructions':>12} {'MACs':>11} {'flash':>8} {'RAM':>7} {'channels':>11}  kernel, operators")
    for row in rows:
        channels = f"{row['live_channels']}/{row['channels']}" if row["channels"] else "-"
        say(f"{row['instructions']:>12,} {row['macs']:>11,} {row['flash_bytes']:>8,} {row['ram_bytes']:>7,} "
            f"{channels:>11}  {row['kernel']}: {row['operators']}")  # fmt: skip
    total = {key: sum(row[key] for row in rows) for key in ("instructions", "macs", "flash_bytes")}
    say(f"{total['instructions']:>12,} {total['macs']:>11,} {total['flash_bytes']:>8,} "
        f"{max(row['ram_bytes'] for row in rows):>7,} in all")  # fmt: skip
    if explorer is not None:
        write_result(explorer, explorer_data(rows))
    write_result(json, rows)


def serial(
    port: str,
    data: Annotated[str | None, arg(metavar="SPEC")] = None,
    camera: int | None = None,
    inputs: Annotated[Path | None, arg(metavar="FILE")] = None,
    count: int = 100,
    json: Json = None,
) -> None:
    """Send faces, or any model's inputs, to a board that runs a sketch of hpe deploy, and print what it answers.

    Args:
        port: The serial port, for instance /dev/ttyACM0 or COM3.
        data: Faces to send (as in hpe train); the error over them is printed at the end.
        camera: Send the middle of this camera's pictures instead (0 is the first camera); needs OpenCV.
        inputs: Send these inputs of a model that is none for head poses: an array (N, ...) in a .npy file, int8 or
            uint8 as the sketch's README says; the outputs are printed as the board gives them, then the microseconds.
        count: How many to send.
        json: Write the error here (with --data).
    """
    from hpe.deploy.board_run import run_inputs, run_serial
    from hpe.io.errors import ConfigError

    if json is not None and data is None:
        raise ConfigError("--json holds the error over --data SPEC; leave it out")
    if inputs is not None and data is None and camera is None:
        return run_inputs(port, inputs, count, report=say)
    if inputs is not None:
        raise ConfigError("--inputs goes alone, without --data and --camera")
    metrics = run_serial(port, data, camera, count, report=say)
    if metrics is not None:
        say(f"MAE {metrics.mean_deg:.2f} deg over {metrics.n} faces, computed on the board")
        write_result(json, metrics.to_dict())


COMMANDS: dict[str, Callable[..., None]] = {
    "predict": predict,
    "footprint": footprint,
    "deploy": deploy,
    "compile": compile_c,
    "web": web,
    "profile": profile,
    "serial": serial,
}

"""The commands that run a finished model: on this machine, on a board, over a serial line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from hpe.cli_output import Json, Model, say, write


def predict(
    model: Positional[Model],
    images: Positional[Annotated[list[Path], arg(metavar="IMAGE")]],
    box: Annotated[tuple[float, float, float, float] | None, arg(metavar="X0 Y0 X1 Y1")] = None,
    draw: Annotated[Path | None, arg(metavar="DIR")] = None,
    json: Json = None,
) -> None:
    """Estimate the head pose in pictures. Without --box a picture must be a face crop (hpe data preview shows such).

    Args:
        model: A run folder, or a .onnx or .tflite file.
        images: Picture files.
        box: The face in the picture, in pixels: left, top, right, bottom.
        draw: Write each picture's crop with the pose drawn as axes into this folder.
        json: Write the poses here.
    """
    from hpe.predict import predict_files

    poses = predict_files(model, images, box, draw)
    for path, (yaw, pitch, roll) in poses.items():
        say(f"{path}: yaw {yaw:.1f}, pitch {pitch:.1f}, roll {roll:.1f} deg")
    keys = ("yaw_deg", "pitch_deg", "roll_deg")
    write(json, {path: dict(zip(keys, pose, strict=True)) for path, pose in poses.items()})


def bench(
    models: Positional[list[Model]],
    seconds: float = 2.0,
    threads: int = 1,
    json: Json = None,
) -> None:
    """Time model files on this machine, one image at a time.

    Args:
        models: .onnx and .tflite files.
        seconds: How long each is run.
        threads: Threads of the interpreter.
        json: Write the times here.
    """
    from hpe.bench import run_bench

    table = run_bench(models, seconds, threads)
    for model, times in table.items():
        say(f"{model}: median {times['median_ms']:.3f} ms, mean {times['avg_ms']:.3f} +- {times['std_ms']:.3f} ms")
    write(json, table)


def fit(model: Positional[Model], board: str = "nano33ble", json: Json = None) -> None:
    """Does a model fit a board? Flash, RAM, operators, multiply-accumulates, estimated time; exit 1 if it does not.

    Args:
        model: A .tflite file; microcontrollers need full int8.
        board: The board, for instance nano33ble, rp2040, esp32-s3, pi4; a wrong name lists them all.
        json: Write the numbers here.
    """
    from export.fit import fit as fit_board

    answer = fit_board(model, board)
    low, high = answer.latency_ms_range
    say(f"{model} {answer.verdict}")
    say(f"flash {answer.flash_bytes:,} of {answer.flash_limit_bytes:,} bytes, {answer.model_bytes:,} of them the model")
    say(f"RAM {answer.ram_bytes:,} of {answer.ram_limit_bytes:,} bytes, {answer.arena_bytes:,} of them the arena")
    say(f"{answer.macs:,} multiply-accumulates, {sum(answer.ops.values())} operators, about {low:.0f} to {high:.0f} ms")
    for advice in answer.advice:
        say(f"- {advice}")
    write(json, answer.to_json())
    if not answer.fits:
        sys.exit(1)


def deploy(model: Positional[Model], out: Path, board: str = "nano33ble") -> None:
    """Write a complete Arduino sketch that runs a model.

    Args:
        model: A full-int8 .tflite file.
        out: Folder of the sketch; its name becomes the sketch's name.
        board: The board, for instance nano33ble; a wrong name lists them all.
    """
    from hpe.pipeline import run_deploy

    for file in run_deploy(model, out, board):
        say(str(file))
    say(f"next: open {out} in the Arduino IDE, choose the board, upload; {out / 'README.md'} says more")


def serial(
    port: str,
    data: Annotated[str | None, arg(metavar="SPEC")] = None,
    camera: int | None = None,
    count: int = 100,
    json: Json = None,
) -> None:
    """Send faces to a board that runs the sketch, and print the poses that it answers.

    Args:
        port: The serial port, for instance /dev/ttyACM0 or COM3.
        data: Faces to send (as in hpe train); the error over them is printed at the end.
        camera: Send the middle of this camera's pictures instead (0 is the first camera); needs OpenCV.
        count: How many faces to send.
        json: Write the error here.
    """
    from hpe.serial_run import run_serial

    metrics = run_serial(port, data, camera, count, report=say)
    if metrics is not None:
        say(f"MAE {metrics.mean_deg:.2f} deg over {metrics.n} faces, computed on the board")
        write(json, metrics.to_dict())


COMMANDS: dict[str, Callable[..., None]] = {
    "predict": predict,
    "bench": bench,
    "fit": fit,
    "deploy": deploy,
    "serial": serial,
}

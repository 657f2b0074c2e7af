"""The `hpe` command: one subcommand a step. Handlers import what they need, so that `hpe --help` answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Union

import tyro
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, Positional, arg, subcommand

from hpe.config import ModelConfig, PruneConfig, TrainConfig

Data = Annotated[str, arg(metavar="SPEC")]
Run = Annotated[Path, arg(metavar="RUN")]
Json = Annotated[Path | None, arg(metavar="FILE")]


def demo(out: Path = Path("demo")) -> None:
    """Train, prune both ways, export, evaluate and compare on drawn heads; about 7 minutes on 2 cores, no download.

    Args:
        out: Folder for the runs, the table and report.html.
    """
    from hpe.demo import run_demo

    run_demo(out, report=_say)


def train(
    data: Data,
    out: Run,
    model: OmitArgPrefixes[ModelConfig] = ModelConfig(),  # noqa: B008
    train: OmitArgPrefixes[TrainConfig] = TrainConfig(),  # noqa: B008
    val: Annotated[str | None, arg(metavar="SPEC")] = None,
    resume: bool = False,
    skip_bad: bool = False,
) -> None:
    """Train a network. Example: hpe train --data csv:faces@train --val csv:faces@val --epochs 8 --out runs/dense

    Args:
        data: What to train on: csv:DIR, aflw2000:DIR, 300w-lp:DIR, biwi:DIR or synthetic:PRESET:COUNT[:SEED], an
            optional @split behind a folder, several joined by +.
        out: Folder for the run; it must be new, or an unfinished run with --resume.
        val: Data to watch the error on; never trained on.
        resume: Go on after the last whole epoch of the run in --out.
        skip_bad: Leave out samples that cannot be read instead of refusing to start.
    """
    from hpe.pipeline import run_train

    run_train(data, out, model, train, val, resume, skip_bad, report=_say)
    _say(f"done: {out}\nnext: hpe evaluate {out} --data SPEC, hpe prune {out} --method channel ..., hpe export {out}")


def prune(
    run: Positional[Run],
    data: Data,
    out: Run,
    prune: OmitArgPrefixes[PruneConfig],
    train: OmitArgPrefixes[TrainConfig] = TrainConfig(epochs=20, lr=5e-4),  # noqa: B008
    val: Annotated[str | None, arg(metavar="SPEC")] = None,
    resume: bool = False,
    skip_bad: bool = False,
) -> None:
    """Prune a trained network while it trains on. Example: hpe prune RUN --method channel --data SPEC --out SMALL

    Args:
        run: Folder of the network to prune; it stays as it is.
        data: What to train on while pruning (as in hpe train).
        out: Folder for the pruned run; it must be new, or an unfinished run with --resume.
        val: Data to watch the error on; never trained on.
        resume: Go on after the last whole epoch of the run in --out.
        skip_bad: Leave out samples that cannot be read instead of refusing to start.
    """
    from hpe.pipeline import run_prune

    run_prune(run, data, out, prune, train, val, resume, skip_bad, report=_say)
    _say(f"done: {out}\nnext: hpe export {out}, hpe evaluate {out} --data SPEC, hpe report {run} {out} --out report")


def export(
    run: Positional[Run],
    calibration: Annotated[str | None, arg(metavar="SPEC")] = None,
    formats: str = "fp32,int8",
    json: Json = None,
) -> None:
    """Convert a trained network to ONNX and TFLite, beside it in its run folder.

    Args:
        run: Folder of a finished run.
        calibration: Data whose images set the int8 ranges (200 are taken). Left out: the run's training data.
        formats: Any of fp32, fp16, sparse, dynamic, int8, joined by commas.
        json: Write the files and their sizes here.
    """
    from export.tflite import file_sizes
    from hpe.pipeline import run_export

    files = run_export(run, calibration, [name.strip() for name in formats.split(",") if name.strip()], report=_say)
    sizes = {str(path): {"format": name, **file_sizes(path)} for name, path in files.items()}
    for path, size in sizes.items():
        _say(f"{path}: {size['size_bytes']:,} bytes, {size['gzip_bytes']:,} after gzip -9")
    _write(json, sizes)
    _say(f"next: hpe evaluate {files.get('int8', run)} --data SPEC, hpe bench {run}/*.tflite")


def evaluate(
    model: Positional[Annotated[Path, arg(metavar="MODEL")]],
    data: Data,
    split: str | None = None,
    skip_bad: bool = False,
    json: Json = None,
) -> None:
    """Measure the error of a model: mean absolute error of yaw, pitch and roll, and geodesic distance, in degrees.

    Args:
        model: A run folder, or a .onnx or .tflite file.
        data: What to evaluate on (as in hpe train); samples with an angle beyond 99 degrees are left out.
        split: The split of the data, where SPEC names none.
        skip_bad: Leave out samples that cannot be read instead of refusing.
        json: Write the result here.
    """
    from hpe.pipeline import run_evaluate

    metrics = run_evaluate(model, data, split, skip_bad)
    angles = ", ".join(f"{name} {metrics.mae_deg[name]:.2f}" for name in ("yaw", "pitch", "roll"))
    _say(f"{model}: MAE {metrics.mean_deg:.2f} deg ({angles}), geodesic {metrics.geodesic_deg:.2f} deg")
    _say(f"{metrics.n} faces, {metrics.dropped} left out")
    _write(json, metrics.to_dict())


def predict(
    model: Positional[Annotated[Path, arg(metavar="MODEL")]],
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
        _say(f"{path}: yaw {yaw:.1f}, pitch {pitch:.1f}, roll {roll:.1f} deg")
    keys = ("yaw_deg", "pitch_deg", "roll_deg")
    _write(json, {path: dict(zip(keys, pose, strict=True)) for path, pose in poses.items()})


def bench(
    models: Positional[Annotated[list[Path], arg(metavar="MODEL")]],
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
    from hpe.pipeline import run_bench

    table = run_bench(models, seconds, threads)
    for model, times in table.items():
        _say(f"{model}: median {times['median_ms']:.3f} ms, mean {times['avg_ms']:.3f} +- {times['std_ms']:.3f} ms")
    _write(json, table)


def report(runs: Positional[Annotated[list[Path], arg(metavar="RUN")]], out: Path, json: Json = None) -> None:
    """Compare runs: table.md, table.csv, Pareto plots and report.html from what was exported, evaluated and timed.

    Args:
        runs: Run folders.
        out: Folder for the report.
        json: Write the rows here.
    """
    from hpe.report import print_table, write_report

    tables = write_report(runs, out)
    for spec, rows in tables.items():
        print_table(rows, f"Data: {spec}")
    _write(json, tables)
    _say(f"open {out / 'report.html'}")


def data_check(spec: Positional[Data], json: Json = None) -> None:
    """List everything that is wrong with a data set; exit 1 if anything is.

    Args:
        spec: The data (as in hpe train).
        json: Write the list here.
    """
    from dataclasses import asdict

    from hpe.datasets import check_data

    faults = check_data(spec)
    for fault in faults:
        _say(str(fault))
    _write(json, [asdict(fault) for fault in faults])
    _say(f"{spec}: {len(faults)} bad" if faults else f"{spec}: nothing wrong")
    if faults:
        sys.exit(1)


def data_preview(spec: Positional[Data], out: Path, count: int = 64, skip_bad: bool = False) -> None:
    """Draw a sheet of the data with each label as axes: red to the subject's left, green up, blue out of the face.

    Args:
        spec: The data (as in hpe train).
        out: The picture to write, for instance sheet.png.
        count: How many faces, taken evenly from the data.
        skip_bad: Leave out samples that cannot be read instead of refusing.
    """
    from hpe.pipeline import run_preview

    shown = run_preview(spec, out, count, skip_bad)
    _say(f"{out}: {shown} faces of {spec}")


DATA_COMMANDS: dict[str, Callable[..., None]] = {"check": data_check, "preview": data_preview}


def _choice(commands: dict[str, Callable[..., None]]) -> Any:
    """A type whose values tyro makes by running one of the commands."""
    options = [Annotated[Any, subcommand(name=name, constructor=command)] for name, command in commands.items()]
    return Union[tuple(options)]  # noqa: UP007


def data(action: OmitSubcommandPrefixes[_choice(DATA_COMMANDS)]) -> None:  # type: ignore[valid-type]
    """Check or look at a data set."""


COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "data": data,
    "train": train,
    "prune": prune,
    "export": export,
    "evaluate": evaluate,
    "predict": predict,
    "bench": bench,
    "report": report,
}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what the user can mend ends in one sentence and exit code 2."""
    description = "Head pose on tiny devices: train, prune, quantise, measure. Start with `hpe demo`."
    try:
        tyro.cli(_choice(COMMANDS), prog="hpe", args=arguments, description=description)
    except (ValueError, OSError, RuntimeError) as error:
        _fail(error)
    except KeyboardInterrupt:
        print("hpe: interrupted; a training goes on after its last whole epoch with --resume", file=sys.stderr)
        sys.exit(130)


def _fail(error: Exception) -> None:
    if os.environ.get("HPE_TRACEBACK"):
        raise error
    missing = isinstance(error, OSError) and error.filename
    message = f"{error.filename}: {error.strerror}" if missing else str(error)
    print(f"hpe: {message}", file=sys.stderr)
    sys.exit(2)


def _say(line: str) -> None:
    print(line, flush=True)


def _write(path: Path | None, value: Any) -> None:
    if path is not None:
        from hpe.files import write_json

        write_json(path, value)


if __name__ == "__main__":
    main()

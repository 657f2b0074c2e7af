"""The `hpe` command: one subcommand a step. Handlers import what they need, so that `hpe --help` answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import tyro
from tyro import MISSING
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, Positional, arg, subcommand

from hpe.cli import data as cli_data
from hpe.cli import device as cli_device
from hpe.cli.output import Data, Json, Model, Run, say, write
from hpe.model.config import ModelConfig
from hpe.training.config import FINETUNING_RECIPE, PRUNING_RECIPE, FinetuneConfig, PruneConfig, Recipe


def demo(out: Path = Path("demo")) -> None:
    """Prune both ways, export, evaluate and compare on synthetic heads, without any download.

    About 5.5 minutes on two cores of a newer machine, 8 on an old one.

    Args:
        out: Folder for the runs, the table and report.html.
    """
    from hpe.study.demo import run_demo

    run_demo(out, report=say)


def train(
    out: Run,
    recipe: OmitArgPrefixes[Recipe],
    model: OmitArgPrefixes[ModelConfig] = ModelConfig(),  # noqa: B008
    resume: bool = False,
) -> None:
    """Train a network. Example: hpe train --data csv:faces@train --val csv:faces@val --epochs 8 --out runs/dense

    Args:
        out: Folder for the run; it must be new, or an unfinished run with --resume.
        resume: Go on after the last whole epoch of the run in --out.
    """
    from hpe.training.runs import run_train

    run_train(out, model, recipe, resume, report=say)
    say(f"done: {out}\nnext: hpe evaluate {out} --data SPEC, hpe prune {out} --method channel ..., hpe export {out}")


def prune(
    run: Positional[Run],
    out: Run,
    prune: OmitArgPrefixes[PruneConfig],
    recipe: OmitArgPrefixes[Recipe] = Recipe(MISSING, train=PRUNING_RECIPE),  # noqa: B008
    resume: bool = False,
) -> None:
    """Prune a trained network while it trains on. Example: hpe prune RUN --method channel --data SPEC --out SMALL

    Args:
        run: Folder of the network to prune, or a shipped model that can be trained (b0); it stays as it is.
        out: Folder for the pruned run; it must be new, or an unfinished run with --resume.
        resume: Go on after the last whole epoch of the run in --out.
    """
    from hpe.training.runs import run_prune

    run_prune(run, out, prune, recipe, resume, report=say)
    fits = f" (says whether it fits the {prune.target_board})" if prune.target_board else ""
    say(f"done: {out}\nnext: hpe export {out}{fits}, hpe evaluate {out} --data SPEC,")
    say(f"hpe report {run} {out} --out report")


def finetune(
    run: Positional[Run],
    out: Run,
    tune: OmitArgPrefixes[FinetuneConfig] = FinetuneConfig(),  # noqa: B008
    recipe: OmitArgPrefixes[Recipe] = Recipe(MISSING, train=FINETUNING_RECIPE),  # noqa: B008
    resume: bool = False,
) -> None:
    """Train a finished run further, pruned or not. Example: hpe finetune SMALL --qat --data SPEC --out SMALL-QAT

    Args:
        run: Folder of the network to start from, or a shipped model that can be trained (b0); it stays as it is. What
            is zero in it stays zero.
        out: Folder for the new run; it must be new, or an unfinished run with --resume.
        resume: Go on after the last whole epoch of the run in --out.
    """
    from hpe.training.runs import run_finetune

    run_finetune(run, out, tune, recipe, resume, report=say)
    say(f"done: {out}\nnext: hpe export {out}, hpe evaluate {out} --data SPEC, hpe report {run} {out} --out report")


def recalibrate(run: Positional[Run], data: Data, out: Run, balance: float = 1.5) -> None:
    """Recalibrate the outputs: a gain and a bias for each angle, fitted on validation faces, against underestimation.

    Example: hpe recalibrate RUN --data csv:faces@val --out RECALIBRATED

    Args:
        run: Folder of a finished run; it stays as it is.
        data: Faces that the run was not trained on. The error that is printed is cross-validated in 5 folds.
        out: Folder for the new run; it must be new.
        balance: Weigh faces by the rarity of their angles to this power; 0 weighs all alike.
    """
    from hpe.training.recalibrate import run_recalibrate

    run_recalibrate(run, data, out, balance, report=say)
    say(f"done: {out}\nnext: hpe export {out}, hpe evaluate {out} --data SPEC")


def export(
    run: Positional[Run],
    calibration: Annotated[str | None, arg(metavar="SPEC")] = None,
    formats: str = "fp32,int8",
    tolerance_deg: float = 12.0,
    out: Path | None = None,
    json: Json = None,
) -> None:
    """Convert a trained network to ONNX and TFLite, beside it in its run folder.

    Args:
        run: Folder of a finished run, or a shipped model that can be trained (b0).
        calibration: Data whose images set the int8 ranges (200 are taken). Left out: the run's training data.
        formats: Any of fp32, fp16, sparse, dynamic, dynamic_sparse, int8, int8_sparse, joined by commas.
        tolerance_deg: Fail if a quantised file's poses differ from torch's by more than this in the mean.
        out: Write the files here instead.
        json: Write the files and their sizes here.
    """
    from hpe.deploy.export import run_export
    from hpe.io.files import read_json

    names = [name.strip() for name in formats.split(",") if name.strip()]
    files = run_export(run, calibration, names, tolerance_deg, report=say, out=out)
    folder = files["onnx"].parent
    result = read_json(folder / "result.json")
    entries = {str(path): {**result["files"][path.name], **result["parity"][path.name]} for path in files.values()}
    for path, entry in entries.items():
        sizes = f"{entry['size_bytes']:,} bytes, {entry['gzip_bytes']:,} after gzip -9"
        say(f"{path}: {sizes}; {entry['mean_deg']:.3f} deg from torch (at most {entry['max_deg']:.3f})")
    write(json, entries)
    say(f"next: hpe evaluate {files.get('int8', run)} --data SPEC, hpe bench {folder}/*.tflite")


def evaluate(
    model: Positional[Model],
    data: Data,
    skip_bad: bool = False,
    engine: Literal["litert", "reference", "c", "c-fine"] = "litert",
    json: Json = None,
) -> None:
    """Measure the error of a model: mean absolute error of yaw, pitch and roll, and geodesic distance, in degrees.

    Args:
        model: A run folder, a .onnx or .tflite file, or the name of a shipped model (see hpe models).
        data: What to evaluate on (as in hpe train); samples with an angle beyond 99 degrees are left out.
        skip_bad: Leave out samples that cannot be read instead of refusing.
        engine: What computes a model file: LiteRT; its reference kernels, as a board does; the C that hpe compile
            writes; or that C before its last rounding to int8.
        json: Write the result here.
    """
    from hpe.deploy.evaluate import run_evaluate

    metrics = run_evaluate(model, data, skip_bad, engine)
    angles = ", ".join(f"{name} {metrics.mae_deg[name]:.2f}" for name in ("yaw", "pitch", "roll"))
    say(f"{model}: MAE {metrics.mean_deg:.2f} deg ({angles}), geodesic {metrics.geodesic_deg:.2f} deg")
    say(f"{metrics.n} faces; left out: {metrics.dropped} beyond 99 degrees, {metrics.skipped} that cannot be used")
    write(json, metrics.to_dict())


def report(runs: Positional[Annotated[list[Path], arg(metavar="RUN")]], out: Path, json: Json = None) -> None:
    """Compare runs: table.md, table.csv, Pareto plots and report.html from what was exported, evaluated and timed.

    Args:
        runs: Run folders.
        out: Folder for the report.
        json: Write the rows here.
    """
    from hpe.study.report import print_table, write_report

    tables = write_report(runs, out)
    for spec, rows in tables.items():
        print_table(rows, f"Data: {spec}")
    write(json, tables)
    say(f"open {out / 'report.html'}")


def _choice(commands: dict[str, Callable[..., None]]) -> Any:
    """A type whose values tyro makes by running one of the commands."""
    options = [Annotated[Any, subcommand(name=name, constructor=command)] for name, command in commands.items()]
    return Union[tuple(options)]  # noqa: UP007


def data(action: OmitSubcommandPrefixes[_choice(cli_data.COMMANDS)]) -> None:  # type: ignore[valid-type]
    """Check or look at a data set."""


COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "data": data,
    "train": train,
    "prune": prune,
    "finetune": finetune,
    "recalibrate": recalibrate,
    "export": export,
    "evaluate": evaluate,
    "report": report,
    **cli_device.COMMANDS,
}

TRAIN_MODULES = ("torch", "torchvision", "timm", "torch_pruning", "safetensors", "matplotlib", "tensorboard", "numba")
"""What the extra `train` brings; everything else that may be missing comes with `export`."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what the user can mend ends in one sentence and exit code 2."""
    description = "Head pose on tiny devices: train, prune, quantise, measure. Start with `hpe demo`."
    try:
        tyro.cli(_choice(COMMANDS), prog="hpe", args=arguments, description=description)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in ("hpe", "pruning", "export"):
            raise
        module = error.name.split(".")[0]
        extra = "train" if module in TRAIN_MODULES else "vision" if module == "cv2" else "export"
        _fail(f"this command needs {error.name}, which is not installed; pip install 'head-pose-edge[{extra}]'")
    except BrokenPipeError:  # `hpe ... | head` has read enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  or the interpreter fails to flush at its end
        sys.exit(128 + 13)  # as a program that SIGPIPE ends
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except (ValueError, RuntimeError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        print("hpe: interrupted; a training goes on after its last whole epoch with --resume", file=sys.stderr)
        sys.exit(130)


def _fail(message: str) -> None:
    print(f"hpe: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()

"""The commands that turn runs into files, measure these and compare them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from hpe.cli.output import Data, Json, Model, Run, write_result
from hpe.io.processes import say


def demo(out: Path = Path("demo")) -> None:
    """Prune both ways, export, evaluate and compare on synthetic heads, without any download.

    About a quarter of an hour on two cores of an old machine, less on a newer one.

    Args:
        out: Folder for the runs, the table and report.html.
    """
    from hpe.study.demo import run_demo

    run_demo(out, report=say)


def export(
    runs: Positional[tuple[Run, ...]],
    calibration: Annotated[str | None, arg(metavar="SPEC")] = None,
    formats: str = "fp32,int8",
    tolerance_deg: float = 1.0,
    out: Path | None = None,
    json: Json = None,
) -> None:
    """Convert trained networks to ONNX and TFLite, beside them in their run folders.

    Args:
        runs: Folders of finished runs, or a released model that can be trained (b0). Several at once take less time.
        calibration: Data whose images set the int8 ranges (200 are taken; files are compared with torch on 64 others).
            Left out: the run's training data.
        formats: Any of fp32, fp16, sparse, dynamic, dynamic_sparse, int8, int8_sparse, joined by commas.
        tolerance_deg: Refuse a quantised file whose poses differ from torch's by more than this in the mean.
        out: Write the files here instead; for one run only.
        json: Write the files and their sizes here.
    """
    from hpe.deploy.export import ExportJob, export_all
    from hpe.io.errors import require
    from hpe.io.files import read_json

    require(bool(runs), "give at least one RUN: the folder of a finished `hpe train` or `hpe prune`")
    require(out is None or len(runs) == 1, "--out takes one RUN; leave it out, so that each is written beside its run")
    names = [name.strip() for name in formats.split(",") if name.strip()]
    entries = {}
    for files in export_all([ExportJob(run, calibration, out) for run in runs], names, tolerance_deg, report=say):
        result = read_json(files["onnx"].parent / "result.json")
        for path in files.values():
            entries[str(path)] = {**result["files"][path.name], **result["parity"][path.name]}
    for path, entry in entries.items():
        sizes = f"{entry['size_bytes']:,} bytes, {entry['gzip_bytes']:,} after gzip -9"
        say(f"{path}: {sizes}; {entry['mean_deg']:.3f} deg from torch (at most {entry['max_deg']:.3f})")
    write_result(json, entries)
    say(f"next: hpe evaluate {files.get('int8', runs[-1])} --data SPEC, hpe bench {files['onnx'].parent}/*.tflite")


def evaluate(
    model: Positional[Model],
    data: Data,
    skip_bad: bool = False,
    engine: Literal["litert", "reference", "c", "c-fine"] = "litert",
    json: Json = None,
) -> None:
    """Measure the error of a model: mean absolute error of yaw, pitch and roll, and geodesic distance, in degrees.

    Args:
        model: A run folder, a .onnx or .tflite file, or the name of a released model (see hpe models).
        data: What to evaluate on (as in hpe train); samples with an angle beyond 99 degrees are left out.
        skip_bad: Leave out samples that cannot be read instead of refusing.
        engine: What computes a model file: LiteRT; its reference kernels, to the bit as the C on a board; the C that
            hpe compile writes; or that C before its last rounding to int8, as the sketch of hpe deploy prints it.
        json: Write the result here.
    """
    from hpe.deploy.evaluate import run_evaluate

    metrics = run_evaluate(model, data, skip_bad, engine)
    angles = ", ".join(f"{name} {metrics.mae_deg[name]:.2f}" for name in ("yaw", "pitch", "roll"))
    say(f"{model}: MAE {metrics.mean_deg:.2f} deg ({angles}), geodesic {metrics.geodesic_deg:.2f} deg")
    say(f"{metrics.n} faces; left out: {metrics.dropped} beyond 99 degrees, {metrics.skipped} that cannot be used")
    write_result(json, metrics.to_dict())


def report(runs: Positional[Annotated[list[Path], arg(metavar="RUN")]], out: Path, json: Json = None) -> None:
    """Compare runs on one page: report.html (also report.md, report.tex, CSV, plots) from what was measured of them.

    Args:
        runs: Run folders.
        out: Folder for the report.
        json: Write the rows here.
    """
    from hpe.io.errors import require
    from hpe.study.report import print_table, write_report

    require(bool(runs), "hpe report needs a RUN: the folder of a finished run, or several")
    tables = write_report(runs, out)
    for spec, rows in tables.items():
        print_table(rows, f"Data: {spec}")
    write_result(json, tables)
    say(f"open {out / 'report.html'}")


def models(json: Json = None) -> None:
    """List the released models: bytes, gzip bytes, multiply-accumulates, arena, error, and the boards they fit.

    Args:
        json: Write the cards here, with data, protocol and limits.
    """
    from hpe.model.cards import cards
    from hpe.model.zoo import print_models

    known = cards()
    if known:
        print_models(known)
    else:
        say("no model is released with this version; train one with hpe train")
    write_result(json, known)


def bench(
    models: Positional[Annotated[tuple[str, ...], arg(metavar="MODEL")]] = (),
    seconds: float = 10.0,
    threads: int = 1,
    xnnpack: bool = True,
    layers: bool = False,
    out: Annotated[Path | None, arg(metavar="CSV|FOLDER")] = None,
    json: Json = None,
) -> None:
    """Time models on this machine, one image at a time, in turns; with what TensorFlow Lite's benchmark_model reports.

    Args:
        models: .onnx and .tflite files, run folders (their int8 files), or names of released models.
        seconds: How long each is measured; from 10 on the figures count.
        threads: Threads of the interpreter; no more are used than there are cores.
        xnnpack: Compute .tflite files with XNNPACK where it can; --no-xnnpack leaves them to the built-in kernels.
        layers: Time single int8 layers of B0's shapes instead, some 2 minutes, and write the table that
            hpe prune --target-ms X --latency-table TABLE.json needs to --out.
        out: Write the figures and the machine here: a .csv file, or a folder, where the file is named by hardware.
        json: Write the figures here.
    """
    from hpe.deploy.bench import run_bench, run_layers, write_bench
    from hpe.io.errors import require

    if layers:
        ignored = bool(models) or seconds != 10.0 or not xnnpack or json is not None
        require(not ignored, "--layers times layers, no MODEL: of the other flags it takes --threads and --out only")
        require(out is not None and out.suffix == ".json", "--layers needs --out TABLE.json")
        assert out is not None
        say(f"written: {run_layers(out, threads)}; next: hpe prune --target-ms X --latency-table {out}")
        return
    require(bool(models), "give at least one MODEL, or --layers")
    table = run_bench(models, seconds, threads, report=say, xnnpack=xnnpack)
    for model, row in table.items():
        short = "" if row["valid"] else "; short: does not count"
        say(f"{model}: median {row['median_ms']:.3f} ms, mean {row['avg_ms']:.3f} +- {row['std_ms']:.3f}, "
            f"{row['min_ms']:.3f} to {row['max_ms']:.3f} ({row['runs']} runs){short}")  # fmt: skip
        say(f"  init {row['init_ms']:.1f} ms, first {row['first_ms']:.3f}, warm-up {row['warmup_ms']:.3f}; "
            f"{row['load_memory_bytes'] / 1e6:.1f} MB to load; "
            f"{row['threads']} thread(s), {row['kernels']}")  # fmt: skip
        for fact in ("temperature_c", "throttled"):
            if f"{fact}_after" in row:
                say(f"  {fact} {row[f'{fact}_before']} before, {row[f'{fact}_after']} after")
    if out is not None:
        say(f"written: {write_bench(table, out)}")
    write_result(json, table)


COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "export": export,
    "evaluate": evaluate,
    "report": report,
    "models": models,
    "bench": bench,
}

"""One table of trained networks in every exported format: size, operators, arena, error, latency.

    python benchmarks/export_variants.py "dense SiLU=RUN" "pruned ReLU6=OTHER" --data csv:FOLDER@test \\
        --out benchmarks/results/export_variants_HARDWARE_YYYYMM

RUN is a folder of `hpe train` or `hpe prune`; formats that it lacks are exported first, into it. Latency is that of
`export.measure_latency`, all files in turns; so it needs an idle machine.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from export import FORMATS, file_sizes, load_runtime, measure_latency, micro_arena, operators, plan_arena, read_model
from export.micro.arena import HOST
from export.micro.latency import op_macs
from hpe.data.faces import Faces, load_faces
from hpe.deploy.export import ExportJob, export_all
from hpe.io.environment import environment
from hpe.io.files import read_json, write_csv, write_text
from hpe.io.markdown import markdown_table
from hpe.model.preprocess import preprocess
from hpe.pose.crop import centre_crop
from hpe.pose.metrics import pose_metrics

DEFINITIONS = """\
- raw: as the converter wrote it, with tensor names; stripped: the file that is shipped; gzip -9: of the stripped one.
- arena: bytes of RAM that TensorFlow Lite Micro takes; planned for a Cortex-M4 (CMSIS-NN, 32 bits) and for this host,
  and measured on this host with its own interpreter (reference kernels, 64 bits).
- MAE: mean absolute error of yaw, pitch and roll, degrees; "from float": mean deviation from the fp32 file's answers.
- latency: 1 thread, 1 image; the least and the median, the files in turns. On a busy machine only the least is worth
  reading: an inference longer than the scheduler's slice (some 3 ms) is interrupted, and so are its neighbours.
  ONNX runs on onnxruntime, the others on LiteRT; its kernels (XNNPACK, or built-in ones where that refuses) are in the
  CSV file."""


@dataclass(frozen=True)
class Options:
    """Compare trained networks in every exported format."""

    variants: tyro.conf.Positional[tuple[str, ...]]
    """LABEL=RUN for each network."""
    data: str
    """Data SPEC for the errors, e.g. csv:FOLDER@test."""
    out: Path
    """Where the table goes: OUT.csv and OUT.md."""
    seconds: float = 10.0
    """How long each file is timed."""


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    runs = dict(_labelled(text) for text in options.variants)
    export_missing(list(runs.values()))
    faces = load_faces(options.data)
    rows = [row for label, run in runs.items() for row in variant_rows(label, run, faces)]
    load = os.getloadavg()[0]
    add_latency(rows, options.seconds)
    facts = environment()
    for row in rows:
        row |= {"faces": len(faces), "seed": 0, "processor": facts["processor"], "commit": facts["commit"]}
    where = ", ".join(f"{name} {value}" for name, value in facts.items())
    conditions = f"{where}. {options.seconds:g} s each, load average before them {load:.1f}; seed 0."
    report = markdown(rows, f"`{options.data}` ({len(faces)} faces). {conditions}")
    write_text(f"{options.out}.md", report)
    write_csv(f"{options.out}.csv", [{name: cell for name, cell in row.items() if name != "path"} for row in rows])
    print(report)


def _labelled(text: str) -> tuple[str, Path]:
    label, equals, run = text.partition("=")
    if not equals or not (Path(run) / "arch.json").is_file():
        sys.exit(f"export_variants.py: {text}: give LABEL=RUN, where RUN is the folder of a finished training")
    return label, Path(run)


def export_missing(runs: list[Path]) -> None:
    """Export those runs in every format that lack a file; however far one deviates, the table tells."""
    names = ["model.onnx", *(f"model_{fmt}.tflite" for fmt in FORMATS)]
    lacking = [run for run in runs if not all((run / name).is_file() for name in names)]
    export_all([ExportJob(run) for run in lacking], FORMATS, tolerance_deg=180.0)


def variant_rows(label: str, run: Path, faces: Faces) -> list[dict[str, Any]]:
    """What is true of each file of a run, but for its latency."""
    named_bytes = json.loads((run / "model_convert.log").read_text().splitlines()[-1])["converter_bytes"]
    images = preprocess(centre_crop(faces.images))  # (N, 64, 64, 3)
    plain = load_runtime(run / "model_fp32.tflite")(images)  # (N, 3)
    rows = []
    for fmt in ("onnx", *FORMATS):
        path = run / ("model.onnx" if fmt == "onnx" else f"model_{fmt}.tflite")
        sizes = file_sizes(path)
        poses = load_runtime(path)(images)
        rows.append(
            {
                "path": path,
                "variant": label,
                "format": fmt,
                "params": read_json(run / "result.json")["params"],
                "raw_bytes": named_bytes.get(fmt, sizes["size_bytes"]),
                "stripped_bytes": sizes["size_bytes"],
                "gzip_bytes": sizes["gzip_bytes"],
                **graph_columns(path, fmt),
                "mae_deg": round(pose_metrics(poses, faces.pose_deg).mean_deg, 3),
                "from_float_deg": round(float(np.abs(poses - plain).mean()), 4),
            }
        )
    return rows


def graph_columns(path: Path, fmt: str) -> dict[str, Any]:
    """Operators of a .tflite; of the int8 one also the arenas and the MACs."""
    empty: dict[str, Any] = dict.fromkeys(("ops", "kinds", "macs", "arena_cortex_m4", "arena_host", "arena_tflm"), "")
    if fmt == "onnx":
        return empty
    names = operators(path)
    columns = {"ops": len(names), "kinds": " ".join(f"{name}:{n}" for name, n in Counter(names).most_common())}
    if fmt != "int8":
        return {**empty, **columns}
    model = read_model(path)
    columns |= {"macs": sum(op_macs(model, op) for op in model.ops), "arena_cortex_m4": plan_arena(model).arena_bytes}
    return columns | {"arena_host": plan_arena(model, HOST).arena_bytes, "arena_tflm": micro_arena(path).arena_bytes}


def add_latency(rows: list[dict[str, Any]], seconds: float) -> None:
    """Give each row its kernels, its median and least time in ms, and its ratio to the first network's fp32 file."""
    runtimes = [load_runtime(row["path"], threads=1) for row in rows]
    table = measure_latency(runtimes, seconds)
    plain_ms = next(ms["median_ms"] for row, ms in zip(rows, table, strict=True) if row["format"] == "fp32")
    for row, runtime, ms in zip(rows, runtimes, table, strict=True):
        row |= {"kernels": runtime.kernels, "latency_ms": round(ms["median_ms"], 4)}
        row |= {"latency_ratio": round(ms["median_ms"] / plain_ms, 3), "min_ms": round(ms["min_ms"], 4)}


def markdown(rows: list[dict[str, Any]], conditions: str) -> str:
    """The report: a row a network for the device, then sizes, errors and latencies a format."""
    labels = list(dict.fromkeys(row["variant"] for row in rows))
    of = {(row["variant"], row["format"]): row for row in rows}

    head = ("network", "parameters", "MACs", "int8 raw", "stripped", "gzip -9", "ops", "arena Cortex-M4")
    head += ("arena host: planned", "measured", "MAE fp32", "MAE int8", "int8 from float")
    device = []
    for label in labels:
        row, plain = of[label, "int8"], of[label, "fp32"]
        names = ("params", "macs", "raw_bytes", "stripped_bytes", "gzip_bytes", "ops")
        names += ("arena_cortex_m4", "arena_host", "arena_tflm")
        errors = (f"{plain['mae_deg']:.2f}", f"{row['mae_deg']:.2f}", f"{row['from_float_deg']:.2f}")
        device.append((label, *(f"{row[name]:,}" for name in names), *errors))

    formats = ("onnx", *FORMATS)
    by_format = {
        "Bytes (stripped / gzip -9)": lambda r: f"{r['stripped_bytes']:,} / {r['gzip_bytes']:,}",
        "Error: MAE (mean deviation from fp32), degrees": lambda r: f"{r['mae_deg']:.2f} ({r['from_float_deg']:.2f})",
        "Latency, ms: least (median)": lambda r: f"{r['min_ms']:.3f} ({r['latency_ms']:.3f})",
    }
    parts = [
        "# Exported networks",
        conditions,
        DEFINITIONS,
        "## Int8, for a microcontroller",
        markdown_table(head, device),
        "## Operators of the int8 files",
        markdown_table(("network", "operators"), [(label, of[label, "int8"]["kinds"]) for label in labels], text=2),
    ]
    for title, cell in by_format.items():
        body = [(label, *(cell(of[label, fmt]) for fmt in formats)) for label in labels]
        parts += [f"## {title}", markdown_table(("network", *formats), body)]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()

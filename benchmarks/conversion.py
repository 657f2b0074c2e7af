"""Seconds and memory of exporting an EfficientNet-B0 to every TensorFlow Lite format, and the sizes and operators got.

    python benchmarks/conversion.py --act relu6 --out benchmarks/results/conversion_HARDWARE_YYYYMM

The weights are random (their zeros, so the sparse files, mean nothing); time and memory do not depend on them.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from export import FORMATS, convert, export_onnx, file_sizes, operators
from hpe.io.environment import environment
from hpe.io.files import write_csv, write_text
from hpe.io.markdown import markdown_table

DEFINITIONS = """\
- parent: tracing to ONNX and comparing it with torch, in the program itself; its imports are not counted.
- child: the process that converts, with its imports; each format is timed in it, the sum is what the caller waits.
- CPU: processor seconds of that part, which is what an idle machine waits; on a busy one the elapsed seconds are more.
- peak: the most memory that the child held (resident set)."""


@dataclass(frozen=True)
class Options:
    """Export a B0 of random weights and report what it costs."""

    act: Literal["silu", "relu6", "hard_swish"] = "silu"
    """Activation."""
    samples: int = 200
    """Calibration samples."""
    out: Path | None = None
    """Write OUT.csv and OUT.md."""


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    load = os.getloadavg()[0]
    rows = measure(options)
    where = ", ".join(f"{name} {value}" for name, value in environment().items())
    conditions = f"EfficientNet-B0 at 64x64, {options.act}, random weights, {options.samples} samples, 1 run, seed 0. "
    report = markdown(rows, f"{conditions}{where}, load average at the start {load:.1f}.")
    print(report)
    if options.out is not None:
        write_text(Path(f"{options.out}.md"), report)
        write_csv(Path(f"{options.out}.csv"), rows)


def measure(options: Options) -> list[dict[str, Any]]:
    """One row a step: seconds, of a format also bytes and operators; of the child as a whole the memory."""
    from hpe.model.config import ModelConfig
    from hpe.model.net import build_model, example_input, fold_output_scale

    network = fold_output_scale(build_model(ModelConfig(act=options.act)))
    calibration = np.random.default_rng(0).normal(size=(options.samples, 64, 64, 3)).astype(np.float32)
    names = ("cpu_seconds", "size_bytes", "gzip_bytes", "operators", "peak_rss_bytes")
    empty: dict[str, Any] = dict.fromkeys(names, "")
    with tempfile.TemporaryDirectory() as folder:
        start, parent_start, child_start = time.perf_counter(), time.process_time(), child_cpu_seconds()
        onnx = export_onnx(network, example_input(), Path(folder) / "b0.onnx")
        traced, parent_cpu = time.perf_counter(), time.process_time() - parent_start
        files = convert(onnx, folder, FORMATS, calibration)
        end, child_cpu = time.perf_counter(), child_cpu_seconds() - child_start
        answer = json.loads((Path(folder) / "b0_convert.log").read_text().splitlines()[-1])
        steps = {"parent: ONNX": traced - start}
        steps |= {f"child: {name}": answer["seconds"][name] for name in ("import", "onnx2tf")}
        rows = [{"step": name, "seconds": round(seconds, 1), **empty} for name, seconds in steps.items()]
        for fmt, path in files.items():
            sizes = {**file_sizes(path), "operators": len(operators(path))}
            rows.append({"step": f"child: {fmt}", "seconds": round(answer["seconds"][fmt], 1), **empty, **sizes})
    rows[0]["cpu_seconds"] = round(parent_cpu, 1)
    whole = {"cpu_seconds": round(child_cpu, 1), "peak_rss_bytes": answer["peak_rss_bytes"]}
    rows.append({"step": "child, all", "seconds": round(end - traced, 1), **empty, **whole})
    rows.append({"step": "all", "seconds": round(end - start, 1), **empty})
    rows[-1]["cpu_seconds"] = round(parent_cpu + child_cpu, 1)
    return rows


def child_cpu_seconds() -> float:
    """Of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def markdown(rows: list[dict[str, Any]], conditions: str) -> str:
    """The report: conditions, definitions, one row a step."""
    cells = [[f"{v:,}" if isinstance(v, int) else str(v) for v in row.values()] for row in rows]
    table = markdown_table(list(rows[0]), cells)
    return f"# Conversion\n\n{conditions}\n\n{DEFINITIONS}\n\n{table}\n"


if __name__ == "__main__":
    main()

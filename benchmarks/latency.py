"""Latency of several model files on this machine, fairly: one thread, one image, rounds that take the files in turn.

    python benchmarks/latency.py RUN/model_fp32.tflite RUN/model_int8.tflite OTHER/model_int8.tflite --out latency.csv

A machine that changes its clock slows all files of a round alike; so the ratio to the first file, taken round by round,
says more than the milliseconds. Both are medians over the rounds. A busy machine spoils them: an inference longer than
the scheduler's slice (some 3 ms) is interrupted, a shorter one is not; then only the minimum is worth reading.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from export import Runtime, file_sizes, load_runtime
from hpe.io.files import write_csv


@dataclass(frozen=True)
class Options:
    """Time .onnx and .tflite files against each other."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """The files; ratios are to the first."""
    rounds: int = 100
    """How often every file has its turn."""
    burst: int = 5
    """Inferences a turn; their median counts. One more before them, unmeasured, brings the file into the cache."""
    threads: int = 1
    """CPU threads."""
    out: Path | None = None
    """Write the table here as CSV."""


def time_burst(runtime: Runtime, burst: int) -> float:
    """Median milliseconds of `burst` inferences on the input last set."""
    runtime.invoke()
    times = []
    for _ in range(burst):
        start = time.perf_counter()
        runtime.invoke()
        times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times))


def interleaved(runtimes: list[Runtime], rounds: int, burst: int) -> np.ndarray:
    """Milliseconds (rounds, files). The order turns by one every round, so that no file always follows the same."""
    rng = np.random.default_rng(0)
    for runtime in runtimes:
        image = rng.normal(size=(1, *runtime.input_shape)).astype(np.float32)
        runtime.set_input(runtime.quantize(image) if runtime.is_int8 else image)
    milliseconds = np.empty((rounds, len(runtimes)))
    for turn in range(rounds):
        for step in range(len(runtimes)):
            column = (turn + step) % len(runtimes)
            milliseconds[turn, column] = time_burst(runtimes[column], burst)
    return milliseconds


def cpu_name() -> str:
    """What /proc/cpuinfo calls the processor (a Pi gives its board in "Model")."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.lower().startswith(("model name", "model\t"))]
    named = [name for name in names if not name.isdigit()]
    return named[-1] if named else platform.processor() or platform.machine()


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    if not options.files:
        sys.exit("latency.py: name one or more .onnx or .tflite files")
    runtimes = [load_runtime(path, threads=options.threads) for path in options.files]
    milliseconds = interleaved(runtimes, options.rounds, options.burst)
    ratios = np.median(milliseconds / milliseconds[:, :1], axis=0)
    quartiles = np.quantile(milliseconds, [0.25, 0.5, 0.75], axis=0)

    rows = []
    for column, (path, runtime) in enumerate(zip(options.files, runtimes, strict=True)):
        low, median, high = (round(float(value), 4) for value in quartiles[:, column])
        least = round(float(milliseconds[:, column].min()), 4)
        row = {
            "file": str(path),
            "kernels": runtime.kernels,
            **file_sizes(path),
            "ratio": round(float(ratios[column]), 3),
        }
        rows.append({**row, "median_ms": median, "quartile1_ms": low, "quartile3_ms": high, "min_ms": least})

    shown = ("kernels", "size_bytes", "ratio", "median_ms", "min_ms")
    table = Table("file", *shown)
    for row in rows:
        path = Path(row["file"])
        table.add_row(f"{path.parent.name}/{path.name}", *(str(row[name]) for name in shown))
    Console().print(table)
    versions = " ".join(f"{name} {metadata.version(name)}" for name in ("ai-edge-litert", "numpy"))
    conditions = f"{options.threads} thread(s), {options.rounds} rounds of {options.burst}"
    load = f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs"
    if os.getloadavg()[0] > options.threads + 0.5:
        print("The machine was busy: medians and ratios are not to be trusted, minima may be.")
    print(f"{cpu_name()}, Python {platform.python_version()}, {versions}; {conditions}; {load}")
    if options.out is not None:
        write_csv(options.out, rows)


if __name__ == "__main__":
    main()

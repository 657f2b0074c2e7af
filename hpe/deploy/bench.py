"""`hpe bench`: latency of model files on this machine, with the figures of TensorFlow Lite's benchmark_model.

Several models take turns, so that a machine that changes its clock slows all alike. A measurement of less than 10
seconds a model is called short: clocks and temperature have not settled.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.run.latency import in_turns, summary, warm_up
from export.run.runtime import Runtime, load_runtime, usable_threads
from hpe.io.environment import environment
from hpe.io.errors import require
from hpe.io.files import note_result, write_csv
from hpe.io.progress import progress_bar
from hpe.model.zoo import is_released, resolve_file

VALID_S = 10.0
"""Seconds that a model must be measured for."""
THERMAL = Path("/sys/class/thermal")
THROTTLED = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}
"""What the low bits of `vcgencmd get_throttled` say of this moment; 16 bits up, of the time since the start."""


def run_bench(
    models: Sequence[str | Path],
    seconds: float = 10.0,
    threads: int = 1,
    report: Callable[[str], None] | None = None,
    xnnpack: bool = True,
) -> dict[str, dict[str, Any]]:
    """Latency of models by name, one image at a time. That of one thread with XNNPACK, which reports show, is noted in
    the result.json of their runs.

    For each: init_ms, first_ms, warmup_ms, avg_ms, min_ms, max_ms, std_ms, median_ms, runs, seconds, valid,
    load_memory_bytes (what loading and warming up added to the process), peak_memory_bytes (of the process since its
    start), threads (no more than there are cores), kernels ("xnnpack", "builtin" or "onnxruntime"; in a child process
    where the file is in doubt, whose memory is then not counted) and what `machine_state` says before and after.
    """
    require(seconds > 0, f"--seconds is {seconds}; it must be more than 0")
    files, threads = [resolve_file(model) for model in models], usable_threads(threads)
    before = machine_state()
    runtimes: list[Runtime] = []
    table: list[dict[str, Any]] = []
    for model, file in zip(models, files, strict=True):
        resident = memory_bytes()["resident"]
        runtime = load_runtime(file, threads=threads, xnnpack=xnnpack, trusted=is_released(model))
        row = warm_up(runtime)
        grown = max(0, memory_bytes()["resident"] - resident)
        table.append(row | {"load_memory_bytes": grown, "kernels": runtime.kernels, "threads": threads})
        runtimes.append(runtime)
    times = in_turns(runtimes, seconds)
    after = machine_state()
    peak = memory_bytes()["peak"]
    for row, measured in zip(table, times, strict=True):
        spent = float(np.sum(measured)) / 1e3
        row |= summary(measured) | {"seconds": spent, "valid": seconds >= VALID_S, "peak_memory_bytes": peak}
        row |= {f"{key}_before": value for key, value in before.items()}
        row |= {f"{key}_after": value for key, value in after.items()}
    for file, row in zip(files, table, strict=True):
        if threads == 1 and xnnpack and (file.parent / "result.json").exists():
            note_result(file.parent, "latency", {file.name: {**row, **environment()}})
    if report is not None and seconds < VALID_S:
        report(f"{seconds:g} s a model is short: from {VALID_S:g} s on a figure counts")
    return {str(model): row for model, row in zip(models, table, strict=True)}


def run_layers(out: Path, threads: int = 1) -> Path:
    """Time single int8 layers of B0's shapes on this machine; the table is written to `out`, JSON."""
    from export.run.layer_table import efficientnet_operators, measure_layers, write_table

    threads, operators = usable_threads(threads), efficientnet_operators()
    with progress_bar("layers", len(operators)) as advance:
        machine = environment() | machine_state() | {"threads": threads}
        table = measure_layers(operators, machine, threads, report=lambda done: advance())
    return write_table(table, out)


def write_bench(table: dict[str, dict[str, Any]], out: Path) -> Path:
    """The table as CSV with the machine in each row: into the file `out`, or the folder `out` named by hardware."""
    facts = environment()
    if out.suffix != ".csv":
        hardware = "".join(c if c.isalnum() or c == "." else "-" for c in str(facts["processor"]).lower())
        hardware = "-".join(part for part in hardware.split("-") if part)
        out = out / f"bench_{hardware}_{time.strftime('%Y%m')}.csv"
    return write_csv(out, [{"model": model, **row, **facts} for model, row in table.items()])


def machine_state() -> dict[str, float | str]:
    """temperature_c and throttled, where the system tells them (a Raspberry Pi tells both)."""
    state: dict[str, float | str] = {}
    degrees = []
    for sensor in sorted(THERMAL.glob("thermal_zone*/temp")):
        try:
            degrees.append(int(sensor.read_text()) / 1000)
        except (OSError, ValueError):  # a sensor that sleeps
            continue
    if degrees:
        state["temperature_c"] = max(degrees)
    if shutil.which("vcgencmd"):
        try:
            answer = subprocess.run(["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=5)
            state["throttled"] = throttled(answer.stdout)
        except (OSError, subprocess.SubprocessError, ValueError):
            pass
    return state


def throttled(answer: str) -> str:
    """`throttled=0x50005` in words; "no" where nothing was the matter."""
    bits = int(answer.strip().removeprefix("throttled="), 16)
    now = [words for bit, words in THROTTLED.items() if bits >> bit & 1]
    earlier = [f"{words} earlier" for bit, words in THROTTLED.items() if bits >> (16 + bit) & 1 and words not in now]
    return ", ".join(now + earlier) or "no"


def memory_bytes() -> dict[str, int]:
    """Resident memory of this process, now and at its peak; 0 where the system does not tell."""
    answer = {"resident": 0, "peak": 0}
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("VmRSS", "VmHWM"):
                answer["resident" if name == "VmRSS" else "peak"] = int(value.split()[0]) * 1024
    return answer

"""Whole sketches of `hpe deploy` on an emulated Cortex-M4: sizes, and instructions per inference within the sketch.

    apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm
    python benchmarks/sketches.py --out benchmarks/results

Each sketch is built with -O2 and with -Os (as Arduino's IDE does) against stand-ins for Arduino's core, gets framed
inputs over serial, and its printed lines are compared with the reference. A board's core, USB and flash wait states are
in none of the figures; the small newlib and the stand-ins (some kB) are.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from export import load_runtime
from export.compiler.emulator.sketch import SketchRun, run_sketch
from hpe.deploy.board_link import encode_values
from hpe.deploy.sketch import run_deploy
from hpe.io.environment import environment
from hpe.io.files import write_text
from hpe.io.markdown import markdown_table
from hpe.model.zoo import resolve_model

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference" / "mlperf_tiny"
FLAGS = ("-O2", "-Os")
HEAD = ("model", "gcc", "instructions", "flash", "of it the model", "RAM", "of it the model", "equal")


@dataclass(frozen=True)
class Options:
    """Whole sketches on an emulated Cortex-M4."""

    models: tyro.conf.Positional[tuple[str, ...]] = ()
    """Int8 .tflite files or names of released models; left out: b0-nano, b0-tiny, MLPerf Tiny's where they are."""
    inputs: int = 4
    """Random inputs for the comparison with the reference."""
    out: Path | None = None
    """Folder for sketches_qemu-mps2-an386_<yyyymm>.md."""


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    models = options.models or ("b0-nano", "b0-tiny", *(str(path) for path in sorted(REFERENCE.glob("*.tflite"))))
    rows = [row for model in models for row in measure(model, options.inputs)]
    facts = environment()
    where = ", ".join(f"{key} {facts[key]}" for key in ("processor", "python", "commit"))
    table = markdown_table(HEAD, rows, text=2)
    title = f"# Whole sketches on a Cortex-M4\n\n`python benchmarks/sketches.py`, emulated on {where}."
    report = f"{title}\n\n{NOTES}\n\n{table}\n"
    print(report)
    if options.out:
        write_text(options.out / f"sketches_qemu-mps2-an386_{time.strftime('%Y%m')}.md", report)
    if any(row[-1].split("/")[0] != row[-1].split("/")[1] for row in rows):
        sys.exit("sketches.py: a printed line differs from the reference")


NOTES = """\
- The sketch as `hpe deploy MODEL --out X` writes it, engine c, in qemu-system-arm's mps2-an386. Instructions are those
  of one inference, from image in RAM to outputs, as the sketch itself takes the time; flash and RAM in bytes are those
  of the linked program: sketch, model, newlib's snprintf, some 1 kB of stand-ins for Arduino's core. The core itself,
  USB and flash wait states are in none of them.
- equal: lines whose numbers are LiteRT's (reference kernels), as near as their digits go; with the fine output of head
  poses within half a step of an int8."""


def measure(model: str, count: int) -> list[tuple[str, ...]]:
    """A row for each set of flags."""
    path = resolve_model(model)
    runtime = load_runtime(path, reference_kernels=True)
    raw = np.random.default_rng(0).integers(0, 256, (count, *runtime.input_shape), dtype=np.uint8)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        deployed = run_deploy(model, Path(folder, "sketch"), "nano33ble", "c")
        heads = any(file.name == "pose.h" for file in deployed.files)
        sent = raw if heads else raw.view(np.int8)
        stream = b"".join(encode_values(values, index) for index, values in enumerate(sent))
        expected = runtime(normalised(raw)) if heads else dequantised(runtime.invoke_raw(raw.view(np.int8)), runtime)
        tolerance = runtime.output_scale * 0.501 + 0.0051 if heads else runtime.output_scale * 0.0501
        for flags in FLAGS:
            run = run_sketch(Path(folder, "sketch"), stream, (flags,))
            found = np.array([[float(field) for field in fields[:-2]] for fields in run.answers])
            equal = int((np.abs(found - expected) <= tolerance).all(axis=1).sum())
            rows.append((path.stem, flags, *sizes(run), f"{equal}/{count}"))
    return rows


def normalised(crops: np.ndarray) -> np.ndarray:
    from hpe.model.preprocess import preprocess

    return preprocess(crops)


def dequantised(raw: np.ndarray, runtime) -> np.ndarray:
    return (raw.astype(np.float64) - runtime.output_zero_point) * runtime.output_scale


def sizes(run: SketchRun) -> tuple[str, ...]:
    instructions = max(int(fields[-2]) for fields in run.answers)
    numbers = (instructions, run.program.flash, run.model.flash, run.program.ram, run.model.ram)
    return tuple(f"{number:,}" for number in numbers)


if __name__ == "__main__":
    main()

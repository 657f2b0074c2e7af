"""Dense, sparse and int8 files on an emulated Raspberry Pi 4: how many instructions does an image take?

    python benchmarks/emulated_pi_speed.py runs/masked --data csv:faces@test --random --out benchmarks/results

RUN folders hold what `hpe export --formats fp32,sparse,int8` wrote; --random adds networks with random weights, masked
to several shares of zeros. All files run in turns in one emulated process (LiteRT with XNNPACK, one thread), and a
plugin of qemu counts each inference's instructions, of them the multiplications of float vectors (FMLA), and loads and
stores. The counts are exact and do not depend on what else the machine does. They are not time: an A72 starts up to
three instructions a cycle, of them one load, and waits for memory. The time that the emulator takes is no measure at
all: it computes float vectors lane by lane in software, so that it times multiplications, ten times as dear as int8's.

Ends with code 1 where a file that should run sparsely (`export.run.xnnpack`) multiplies as often as the dense one, or
the other way round. Needs cc, apt-get and uv; Linux on x86-64 only; nothing is installed into the system.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks.arm64 import CPU, DEFAULT_CACHE, arm_python, check_tools, install_project, run
from export.convert.tflite import Conversion, convert_all
from export.run.xnnpack import sparse_speed
from hpe.io.environment import environment
from hpe.io.files import write_csv, write_text
from hpe.io.markdown import markdown_table

FORMATS = ("fp32", "sparse", "int8")
DENSE = 0.9
"""A file with more than this share of the dense one's float multiplications ran densely."""
FORMS = {
    "relu6": {"act": "relu6", "se": False},
    "hard-swish": {"act": "hard_swish", "se": False},
    "silu-se": {},
    "relu6-same": {"act": "relu6", "se": False, "padding": "same"},
    "relu6-flatten": {"act": "relu6", "se": False, "head": "paper"},
}
RANDOM = [
    *(("relu6", share) for share in (0.5, 0.7, 0.8, 0.875)),
    *((form, 0.8) for form in ("hard-swish", "silu-se", "relu6-same", "relu6-flatten")),
]
"""Random networks: form, share of zeros in each 1x1 convolution."""
RUN_FILES = """
import json, os, sys, time
import numpy as np
from ai_edge_litert.interpreter import Interpreter
files, rounds = json.loads(sys.argv[1]), int(sys.argv[2])
ready = []
for file in files:
    interpreter = Interpreter(model_path=file, num_threads=1)
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    image = np.random.default_rng(0).normal(size=source["shape"])
    image = image.astype(np.float32) if source["dtype"] == np.float32 else (image * 50).clip(-128, 127).astype(np.int8)
    interpreter.set_tensor(source["index"], image)
    interpreter.invoke()
    ready.append(interpreter)
seconds = []
for _ in range(rounds):
    for interpreter in ready:
        os.getppid()
        start = time.perf_counter()
        interpreter.invoke()
        seconds.append(time.perf_counter() - start)
        os.getppid()
print(json.dumps(seconds))
"""


@dataclass(frozen=True)
class Options:
    """Count the instructions of dense, sparse and int8 files on an emulated Raspberry Pi 4."""

    runs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Folders with model_fp32.tflite, model_sparse.tflite and model_int8.tflite of a trained network."""
    random: bool = False
    """Also networks with random weights and random masks: made once, kept in the cache."""
    data: str | None = None
    """Faces to measure the error of trained networks on, as in hpe evaluate."""
    rounds: int = 5
    """Inferences of each file."""
    cache: Path = DEFAULT_CACHE
    """Folder for Debian's packages, the wheels and the random networks; kept for the next time."""
    out: Path | None = None
    """Folder for emulated_pi_speed_cortex-a72_<yyyymm>.{csv,md}."""


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    check_tools(("cc", "apt-get install gcc"), ("uv", "pip install uv"), ("apt-get", "it needs Debian or the like"))
    cache = options.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    nets = {str(folder): {fmt: folder / f"model_{fmt}.tflite" for fmt in FORMATS} for folder in options.runs}
    if options.random:
        nets |= random_nets(cache / "random")
    rows = measure(nets, cache, options.rounds)
    for row in rows:
        row["mae_deg"] = error(row["file"], options.data) if row["net"] in map(str, options.runs) else None
    wrong = [row for row in rows if row["promised"] is not None and row["promised"] != (row["fma_ratio"] <= DENSE)]
    report = markdown(rows, options)
    print(report)
    if options.out is not None:
        stem = f"{options.out}/emulated_pi_speed_{CPU}_{time.strftime('%Y%m')}"
        shown = [{key: value for key, value in row.items() if key != "file"} for row in rows]
        write_csv(f"{stem}.csv", [row | {"net": Path(row["net"]).name} for row in shown])
        write_text(f"{stem}.md", report)
    if wrong:
        told = "; ".join(
            f"{row['net']}: {row['fma_ratio']:.2f} of dense's multiplications {row['why']}" for row in wrong
        )
        sys.exit(f"What export.run.xnnpack says does not hold: {told}")


def random_nets(folder: Path) -> dict[str, dict[str, Path]]:
    """The networks of RANDOM, by form and zeros; what is in the folder is not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    nets = {f"{form}, {share:.1%} zeros": folder / f"{form}-{share:g}" for form, share in RANDOM}
    wanted = [
        random_net(*RANDOM[i], stem)
        for i, stem in enumerate(nets.values())
        if not all(Path(f"{stem}_{fmt}.tflite").exists() for fmt in FORMATS)
    ]
    convert_all(wanted, timeout_s=1800)
    return {name: {fmt: Path(f"{stem}_{fmt}.tflite") for fmt in FORMATS} for name, stem in nets.items()}


def random_net(form: str, share: float, stem: Path) -> Conversion:
    """An untrained B0 of that form, its 1x1 convolutions masked by magnitude, as ONNX."""
    from export.convert.onnx import export_onnx
    from hpe.model.config import ModelConfig
    from hpe.model.net import build_model, example_input, fold_output_scale
    from pruning import apply_masks, make_masks, prunable_weights, zeros_for

    net = fold_output_scale(build_model(ModelConfig(**FORMS[form]))).eval()
    weights = prunable_weights(net, policy=zeros_for("pi", net, example_input()))
    apply_masks(net, make_masks({name: weight.detach().abs() for name, weight in weights.items()}, share))
    samples = np.random.default_rng(0).normal(size=(20, 64, 64, 3)).astype(np.float32)
    onnx = export_onnx(net, example_input(), stem.parent / f"{stem.name}.onnx")
    return Conversion(onnx, stem.parent, FORMATS, samples, range_quantile=1.0)


def measure(nets: dict[str, dict[str, Path]], cache: Path, rounds: int) -> list[dict[str, Any]]:
    """A row for each file: instructions of an image, and what share that is of the dense float file's."""
    files = [(net, fmt, path.resolve()) for net, paths in nets.items() for fmt, path in paths.items()]
    counts = cache / "counts.txt"
    python = arm_python(cache, install_project(cache), counts)
    told = run([*python, "-c", RUN_FILES, json.dumps([str(path) for _, _, path in files]), str(rounds)], cwd=cache)
    marks = np.loadtxt(counts, dtype=np.int64).reshape(rounds, len(files), 2, 3)
    used = np.median(np.diff(marks, axis=2)[:, :, 0], axis=0).astype(int)  # (files, 3)
    seconds = np.array(json.loads(told.splitlines()[-1])).reshape(rounds, len(files))
    rows = []
    for i, (net, fmt, path) in enumerate(files):
        dense = files.index((net, "fp32", nets[net]["fp32"].resolve()))
        speed = sparse_speed(path)
        row = {"net": net, "format": fmt, "file": path, "zeros": round(speed.zeros, 3)}
        row |= {"instructions": used[i, 0], "fma": used[i, 1], "loads_and_stores": used[i, 2]}
        row |= {"ratio": round(used[i, 0] / used[dense, 0], 3), "fma_ratio": round(used[i, 1] / used[dense, 1], 3)}
        row |= {"emulated_time_ratio": round(float(np.median(seconds[:, i] / seconds[:, dense])), 3)}
        row |= {"size_bytes": path.stat().st_size, "promised": speed.engages if fmt == "sparse" else None}
        rows.append(row | {"why": speed.reason})
    return rows


def error(file: Path, data: str | None) -> float | None:
    """Mean absolute error in degrees, computed here."""
    from hpe.deploy.evaluate import run_evaluate

    return None if data is None else round(run_evaluate(file, data).mean_deg, 3)


def markdown(rows: Sequence[dict[str, Any]], options: Options) -> str:
    """The outcome."""
    names = " ".join(folder.name for folder in options.runs)
    flags = " --random" if options.random else ""
    lines = ["# Zeros on an emulated Raspberry Pi 4", ""]
    lines += [
        f"`python benchmarks/emulated_pi_speed.py {names}{flags}`: qemu in user mode, -cpu {CPU}, LiteRT with",
        f"XNNPACK, one thread, one image of 64x64, median of {options.rounds} inferences; commit",
        f"{environment()['commit']}. EfficientNet-B0. No Raspberry Pi was measured: instructions are exact but are not",
        "time, and XNNPACK may choose other dense kernels where it knows the core. The emulator's own time is no",
        "measure (it computes float vectors in software); it stands in the CSV.",
        "",
    ]
    head = ("network", "file", "sparse kernels", "zeros in 1x1", "bytes", "MAE (deg)", "instructions", "of dense fp32")
    cells = []
    for row in rows:
        mae = "random weights" if row["mae_deg"] is None else f"{row['mae_deg']:.2f}"
        engaged = "-" if row["promised"] is None else "yes" if row["promised"] else f"no: {row['why']}"
        file = (Path(row["net"]).name, row["format"], engaged, f"{row['zeros']:.1%}", f"{row['size_bytes']:,}", mae)
        parts = (f"{row[key] / 1e6:.1f}M" for key in ("fma", "loads_and_stores"))
        cells.append((*file, f"{row['instructions'] / 1e6:.1f}M", f"{row['ratio']:.2f}", *parts))
    return "\n".join([*lines, markdown_table((*head, "FMLA", "loads, stores"), cells, text=3), ""])


if __name__ == "__main__":
    main()

"""Seconds and memory of exporting an EfficientNet-B0 to every TensorFlow Lite format, and the sizes and operators got.

    python benchmarks/conversion.py --act relu6

The weights are random (their zeros, so the sparse files, mean nothing); time and memory do not depend on them.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from export import FORMATS, convert, export_onnx, file_sizes, operators


@dataclass(frozen=True)
class Options:
    """Export a B0 of random weights and report what it costs."""

    act: Literal["silu", "relu6", "hard_swish"] = "silu"
    """Activation."""
    samples: int = 200
    """Calibration samples."""


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    from hpe.config import ModelConfig
    from hpe.model import build_model, example_input, fold_output_scale

    network = fold_output_scale(build_model(ModelConfig(act=options.act)))
    calibration = np.random.default_rng(0).normal(size=(options.samples, 64, 64, 3)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        onnx = export_onnx(network, example_input(), Path(folder) / "b0.onnx")
        onnx_seconds = time.perf_counter() - start
        start = time.perf_counter()
        files = convert(onnx, folder, FORMATS, calibration)
        convert_seconds = time.perf_counter() - start
        answer = json.loads((Path(folder) / "b0_convert.log").read_text().splitlines()[-1])
        table = Table("format", "seconds", "bytes", "gzip bytes", "operators")
        for fmt, path in files.items():
            sizes = file_sizes(path)
            numbers = sizes["size_bytes"], sizes["gzip_bytes"], len(operators(path))
            table.add_row(fmt, str(answer["seconds"][fmt]), *(f"{number:,}" for number in numbers))
    Console().print(table)
    peak_mb = answer["peak_rss_bytes"] / 1e6
    print(f"ONNX {onnx_seconds:.1f} s; all formats {convert_seconds:.1f} s, child process peak {peak_mb:,.0f} MB")
    print(f"of which importing TensorFlow {answer['seconds']['import']} s, onnx2tf {answer['seconds']['onnx2tf']} s")


if __name__ == "__main__":
    main()

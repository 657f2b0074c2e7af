"""`hpe bench`: latency of model files on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpe.config import ConfigError
from hpe.environment import environment
from hpe.files import merge_result


def run_bench(models: Sequence[Path], seconds: float = 2.0, threads: int = 1) -> dict[str, dict[str, float]]:
    """Latency of model files on this machine, one image at a time; noted in the result.json of their runs."""
    from export.runtime import load_runtime, measure_latency

    table = {}
    for model in models:
        if model.is_dir():
            raise ConfigError(f"{model}: `hpe bench` times .onnx and .tflite files; run `hpe export {model}` first")
        latency = measure_latency(load_runtime(model, threads=threads), seconds=seconds)
        table[str(model)] = latency
        if (model.parent / "result.json").exists():
            merge_result(model.parent, "latency", {model.name: {**latency, "threads": threads, **environment()}})
    return table

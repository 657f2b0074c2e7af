"""How long one image takes: model files in turns, with the figures of TensorFlow Lite's benchmark_model.

A machine that changes its clock slows all files of a turn alike, so that they can be compared.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from export.run.engines import Runtime

TURN_S = 0.5
"""Seconds until the next file has its turn."""
WARM_UP_RUNS = 10


def measure_latency(runtimes: Sequence[Runtime], seconds: float = 1.0) -> list[dict[str, float]]:
    """Time single inferences on random input, the computation only.

    Args:
        runtimes: freshly loaded, so that the first inference is a first one.
        seconds: that each is measured for, at least; more than 0.

    Returns:
        of each what `warm_up` and `summary` tell.
    """
    begun = [warm_up(runtime) for runtime in runtimes]
    times = in_turns(runtimes, seconds)
    return [{**first, **summary(measured)} for first, measured in zip(begun, times, strict=True)]


def warm_up(runtime: Runtime) -> dict[str, float]:
    """Set a random input and compute on it: init_ms, first_ms, and warmup_ms, the mean of WARM_UP_RUNS after that."""
    image = np.random.default_rng(0).normal(size=(1, *runtime.input_shape)).astype(np.float32)
    runtime.set_input(runtime.quantize(image) if runtime.is_int8 else image)
    first, *more = (runtime.timed_invoke() for _ in range(1 + WARM_UP_RUNS))
    return {"init_ms": runtime.init_ms, "first_ms": first, "warmup_ms": float(np.mean(more))}


def in_turns(runtimes: Sequence[Runtime], seconds: float) -> list[list[float]]:
    """Milliseconds of each inference on the input last set, at least `seconds` of them for each."""
    times: list[list[float]] = [[] for _ in runtimes]
    spent = [0.0] * len(runtimes)
    while min(spent) < seconds:
        for index, runtime in enumerate(runtimes):
            begin = time.perf_counter()
            end = begin + min(TURN_S, seconds)
            while time.perf_counter() < end:
                times[index].append(runtime.timed_invoke())
            spent[index] += time.perf_counter() - begin
    return times


def summary(times_ms: Sequence[float]) -> dict[str, float]:
    """avg_ms, min_ms, max_ms, std_ms and median_ms of these times, and runs, their number."""
    values = np.asarray(times_ms, np.float64)
    numbers = {"avg": values.mean(), "min": values.min(), "max": values.max(), "std": values.std()}
    numbers["median"] = np.median(values)
    return {**{f"{name}_ms": float(value) for name, value in numbers.items()}, "runs": len(values)}

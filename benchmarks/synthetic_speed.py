"""Images per second of the synthetic renderer on one core, at 64 pixels with a border of 8, as it is cached.

    taskset -c 1 python benchmarks/synthetic_speed.py

CPU time and wall time are both taken: on a machine that others use too, the faster batches say more than the mean.
"""

import platform
import statistics
import time
from datetime import date
from pathlib import Path

import numba
import numpy as np
import tyro

from hpe.io.environment import commit, processor
from hpe.io.files import write_csv
from hpe.synthetic import prepare, render


def main(batches: int = 40, batch: int = 50, out: Path = Path("benchmarks/results")) -> None:
    """Time batches of renders of each preset and write a CSV.

    Args:
        batches: batches per preset
        batch: images per batch
        out: folder of the CSV
    """
    rows = []
    for preset in ("easy", "clean", "full"):
        prepare()  # compiles the loops and builds the tables
        per_cpu_second, per_second = [], []
        for k in range(batches):
            cpu, wall = time.process_time(), time.perf_counter()
            render(range(k * batch, (k + 1) * batch), 0, preset, margin=8)
            per_cpu_second.append(batch / (time.process_time() - cpu))
            per_second.append(batch / (time.perf_counter() - wall))
        row = {"preset": preset, "size": 64, "margin": 8, "n": batches * batch, "seed": 0}
        for name, rates in (("per_cpu_second", per_cpu_second), ("per_second", per_second)):
            row |= {f"{name}_mean": round(statistics.mean(rates)), f"{name}_sd": round(statistics.stdev(rates))}
            row |= {f"{name}_median": round(statistics.median(rates)), f"{name}_best": round(max(rates))}
        rows.append(
            {**row, "processor": processor(), "numpy": np.__version__, "numba": numba.__version__, "commit": commit()}
        )
        print("  ".join(f"{name} {value}" for name, value in rows[-1].items()))
    path = out / f"synthetic_speed_{platform.machine()}_{date.today():%Y%m}.csv"
    print(f"wrote {write_csv(path, rows)}")


if __name__ == "__main__":
    tyro.cli(main)

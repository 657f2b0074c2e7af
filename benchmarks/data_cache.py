"""How fast the uint8 cache is built and opened, for any data specification.

    python benchmarks/data_cache.py synthetic:easy:20000 csv:faces [--out FILE.csv]

Each specification is built in a fresh folder (nothing is reused), then opened again; the rows hold both times, and the
CPU seconds of all processes, which other programs on the machine disturb less than the elapsed time. The first build
of synthetic heads on a machine also compiles the renderer: set NUMBA_CACHE_DIR to an empty folder to include that.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

from hpe.data.faces import load_faces
from hpe.io.environment import commit, processor
from hpe.io.files import write_csv


def cpu_seconds() -> float:
    """CPU seconds so far of this process and of those it has ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure(spec: str) -> dict[str, object]:
    """Build and open the cache of one specification."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        start, cpu_before = time.perf_counter(), cpu_seconds()
        count = len(load_faces(spec, cache_dir=folder))
        built, cpu_after = time.perf_counter(), cpu_seconds()
        load_faces(spec, cache_dir=folder)
        opened = time.perf_counter()
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    build_s, open_s, cpu_s = built - start, opened - built, cpu_after - cpu_before
    rate = f"{count / build_s:,.0f}/s, {count / cpu_s:,.0f} a CPU second"
    print(f"{spec}: {count:,} images built in {build_s:.1f} s ({rate}), opened in {open_s:.2f} s")
    return {
        "spec": spec,
        "images": count,
        "build_s": round(build_s, 1),
        "images_per_s": round(count / build_s),
        "images_per_cpu_s": round(count / cpu_s),
        "open_s": round(open_s, 2),
        "cache_bytes": size,
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_average_before": round(load, 1),
        "processor": processor(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "commit": commit(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="+", help="data specifications")
    parser.add_argument("--out", type=Path, help="write the rows to this csv")
    arguments = parser.parse_args()
    rows = [measure(spec) for spec in arguments.specs]
    if arguments.out:
        write_csv(arguments.out, rows)


if __name__ == "__main__":
    main()

"""The light install on an emulated Raspberry Pi 4 (Cortex-A72, Python 3.11 as Pi OS bookworm has it).

    apt-get update && apt-get install qemu-user-static
    python benchmarks/emulated_pi.py b0-nano --picture face.jpg --out benchmarks/results

Debian's arm64 packages of Python are unpacked into a cache folder, the project with its dependencies for aarch64 is
installed beside them by uv, and `hpe predict` and `hpe bench` run there. Then both machines compute the int8 output of
the same random inputs: with the reference kernels they must agree byte for byte. It shows that the install works and
computes right on a Pi 4; its times mean nothing. Speeds: emulated_pi_speed.py. Linux on x86-64 only; nothing is
installed into the system.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from benchmarks.arm64 import CPU, DEFAULT_CACHE, ROOT, arm_python, check_tools, install_project, run
from hpe.io.environment import environment
from hpe.io.files import read_json, write_text
from hpe.model.zoo import digest, resolve_model

SAMPLES = 16
"""Random inputs for the comparison."""
RAW_OUTPUTS = """
import sys
import numpy as np
from export.run.runtime import load_runtime
answers = {}
for name, reference in (("reference", True), ("fast", False)):
    runtime = load_runtime(sys.argv[1], reference_kernels=reference)
    inputs = np.random.default_rng(0).integers(-128, 128, (int(sys.argv[3]), *runtime.input_shape), dtype=np.int8)
    answers[name] = runtime.invoke_raw(inputs)
np.savez(sys.argv[2], **answers)
"""


@dataclass(frozen=True)
class Options:
    """Try the light install on an emulated Raspberry Pi 4."""

    model: tyro.conf.Positional[str]
    """A full-int8 .tflite file, or the name of a released one."""
    picture: Path
    """A picture with a face."""
    cache: Path = DEFAULT_CACHE
    """Folder for Debian's packages and the wheels, 400 MB; kept for the next time."""
    seconds: float = 2.0
    """How long `hpe bench` measures."""
    out: Path | None = None
    """Folder for the outcome as emulated_pi_cortex-a72_<yyyymm>.md."""


def compare(python: list[str], model: str, cache: Path) -> list[str]:
    """Lines of the outcome: the int8 outputs of both machines."""
    files = {"x86": cache / "x86.npz", "arm": cache / "arm.npz"}
    arguments = [model, str(SAMPLES)]
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    run([sys.executable, "-c", RAW_OUTPUTS, arguments[0], str(files["x86"]), arguments[1]], env=here)
    run([*python, "-c", RAW_OUTPUTS, arguments[0], str(files["arm"]), arguments[1]], cwd=cache)
    with np.load(files["x86"]) as x86, np.load(files["arm"]) as arm:
        steps = {name: np.abs(x86[name].astype(int) - arm[name].astype(int)) for name in ("reference", "fast")}
    lines = [f"- Reference kernels, {SAMPLES} random inputs: {int((steps['reference'] == 0).all(axis=1).sum())} of "
             f"{SAMPLES} outputs equal x86-64's byte for byte.",
             f"- XNNPACK on both: at most {steps['fast'].max()} int8 steps apart."]  # fmt: skip
    if steps["reference"].any():
        sys.exit("\n".join([*lines, "The reference kernels disagree."]))
    return lines


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    check_tools(("qemu-aarch64-static", "apt-get install qemu-user-static"), ("uv", "pip install uv"))
    cache = options.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    python = arm_python(cache, install_project(cache))
    hpe = [*python, "-m", "hpe.cli"]
    facts = run([*python, "-c", "import platform; print(platform.machine(), platform.python_version())"]).strip()

    start = time.perf_counter()
    poses, model, picture = (
        cache / "poses.json",
        str(resolve_model(options.model).resolve()),
        str(options.picture.resolve()),
    )
    run([*hpe, "predict", picture, "--model", model, "--draw", str(cache / "drawn"), "--json", str(poses)], cwd=cache)
    rows = read_json(poses)["faces"]
    predicted = time.perf_counter() - start
    here = cache / "poses_here.json"
    run([sys.executable, "-m", "hpe.cli", "predict", picture, "--model", model, "--json", str(here)], cwd=ROOT)
    keys = ("yaw_deg", "pitch_deg", "roll_deg")
    both = (
        [[row[key] for key in keys] for row in rows],
        [[row[key] for key in keys] for row in read_json(here)["faces"]],
    )
    apart = np.abs(np.array(both[0]) - np.array(both[1])).max() if np.shape(both[0]) == np.shape(both[1]) else np.nan
    bench = run([*hpe, "bench", model, "--seconds", str(options.seconds)], cwd=cache)
    bench = bench.replace(f"{Path(model).parent}/", "")

    versions = " ".join(sorted(path.stem for path in (cache / "site").glob("*.dist-info")))
    emulator = run(["qemu-aarch64-static", "--version"]).splitlines()[0]
    lines = ["# The light install on an emulated Raspberry Pi 4", ""]
    command = f"python benchmarks/emulated_pi.py {Path(options.model).name} --picture {options.picture.name}"
    lines += [f"`{command}`: {emulator},",
              f"-cpu {CPU}, {facts}, on {environment()['processor']} ({platform.machine()}), commit "
              f"{environment()['commit']}. Times there mean nothing.",
              f"The model: {Path(model).stat().st_size:,} bytes, SHA-256 {digest(Path(model))[:12]}.", ""]  # fmt: skip
    lines += compare(python, model, cache)
    found = f"- `hpe predict` found {len(rows)} face(s) in {predicted:.0f} s; "
    found += f"poses at most {apart:.2f} degrees from x86-64's."
    lines += [found, "- `hpe bench` answered:", "", *("      " + line for line in bench.splitlines()), ""]
    lines += [f"Installed: {versions}.", ""]
    print("\n".join(lines))
    if options.out is not None:
        write_text(options.out / f"emulated_pi_{CPU}_{time.strftime('%Y%m')}.md", "\n".join(lines))


if __name__ == "__main__":
    main()

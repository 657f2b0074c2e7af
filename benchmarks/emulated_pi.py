"""The light install on an emulated Raspberry Pi 4 (Cortex-A72, Python 3.11 as Pi OS bookworm has it).

    apt-get update && apt-get install qemu-user-static
    python benchmarks/emulated_pi.py b0-nano --picture face.jpg --out benchmarks/results

Debian's arm64 packages of Python are unpacked into a cache folder, the project with its dependencies for aarch64 is
installed beside them by uv, and `hpe predict` and `hpe bench` run there. Then both machines compute the int8 output of
the same random inputs: with the reference kernels they must agree byte for byte. It shows that the install works and
computes right on a Pi 4; its times mean nothing. Linux on x86-64 only; nothing is installed into the system.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hpe.io.environment import environment
from hpe.io.files import read_json, write_text
from hpe.model.zoo import digest, resolve_model

ROOT = Path(__file__).resolve().parents[1]
CPU = "cortex-a72"
PACKAGES = [
    "libpython3.11-minimal",
    "python3.11-minimal",
    "libpython3.11-stdlib",
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "zlib1g",
    "libexpat1",
    "libssl3",
    "libffi8",
    "libbz2-1.0",
    "liblzma5",
    "libuuid1",
    "libcrypt1",
    "libsqlite3-0",
    "libdb5.3",
    "libtinfo6",
    "libncursesw6",
]
"""What Python and the wheels need of Debian."""
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
    cache: Path = field(default_factory=lambda: Path.home() / ".cache" / "hpe" / "emulated_pi")
    """Folder for Debian's packages and the wheels, 400 MB; kept for the next time."""
    seconds: float = 2.0
    """How long `hpe bench` measures."""
    out: Path | None = None
    """Folder for the outcome as emulated_pi_cortex-a72_<yyyymm>.md."""


def run(command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """The standard output of a command; a failure ends the program with what it said."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command[:6])} ... failed with {done.returncode}:\n{done.stdout}{done.stderr}"[-4000:])
    return done.stdout


def unpack_python(cache: Path) -> Path:
    """Debian's arm64 Python in a folder of its own, fetched with an apt that knows of no other machine."""
    system, packages, state = cache / "root", cache / "packages", cache / "apt"
    if (system / "usr/bin/python3.11").exists():
        return system
    for folder in (packages / "partial", state / "lists" / "partial", state / "cache" / "archives" / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    options = {"APT::Architecture": "arm64", "APT::Architectures": "arm64", "APT::Sandbox::User": "root"}
    options |= {
        "Dir::State": str(state),
        "Dir::State::status": str(state / "status"),
        "Dir::Cache": str(state / "cache"),
    }
    apt = ["apt-get", *(f"-o{key}={value}" for key, value in options.items())]
    run([*apt, "update"])
    run([*apt, "download", *PACKAGES], cwd=packages)
    for package in sorted(packages.glob("*.deb")):
        run(["dpkg-deb", "-x", str(package), str(system)])
    return system


def install_project(cache: Path) -> Path:
    """The project and the wheels for aarch64, as `pip install '.[vision]'` would bring them to a Pi."""
    site, built = cache / "site", cache / "dist"
    for folder in (site, built):
        shutil.rmtree(folder, ignore_errors=True)
    run(["uv", "build", "--wheel", "--out-dir", str(built), str(ROOT)])
    (wheel,) = built.glob("*.whl")
    machine = ["--python-platform", "aarch64-manylinux_2_28", "--python-version", "3.11", "--only-binary", ":all:"]
    run(["uv", "pip", "install", "--target", str(site), *machine, f"{wheel}[vision]"])
    return site


def arm_python(system: Path, site: Path, cache: Path) -> list[str]:
    """The command that runs the emulated Python."""
    interpreter = str(system / "usr/bin/python3.11")
    home = {"PYTHONHOME": str(system / "usr"), "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    home |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "LD_LIBRARY_PATH": ""}
    settings = [part for key, value in home.items() for part in ("-E", f"{key}={value}")]
    return ["qemu-aarch64-static", "-cpu", CPU, "-L", str(system), *settings, interpreter]


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
    for program, remedy in (("qemu-aarch64-static", "apt-get install qemu-user-static"), ("uv", "pip install uv")):
        if shutil.which(program) is None:
            sys.exit(f"emulated_pi.py: {program} is missing; {remedy}")
    cache = options.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    python = arm_python(unpack_python(cache), install_project(cache), cache)
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

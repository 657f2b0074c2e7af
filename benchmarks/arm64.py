"""An emulated Raspberry Pi 4: Debian's arm64 Python in a folder, the project beside it, qemu in user mode.

Nothing is installed into the system. qemu is Debian's `qemu-user-static`, if it is there, or its package `qemu-user`,
unpacked into the same folder; the latter also counts the instructions that the guest runs (count_instructions.c), which
the static one was built without. Linux on x86-64 only.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CPU = "cortex-a72"
DEFAULT_CACHE = Path.home() / ".cache" / "hpe" / "emulated_pi"
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


def run(command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """The standard output of a command; a failure ends the program with what it said."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command[:6])} ... failed with {done.returncode}:\n{done.stdout}{done.stderr}"[-4000:])
    return done.stdout


def check_tools(*tools: tuple[str, str]) -> None:
    """End the program where one of (command, what to do) is missing."""
    for program, remedy in tools:
        if shutil.which(program) is None:
            sys.exit(f"{Path(sys.argv[0]).name}: {program} is missing; {remedy}")


def fetch(cache: Path, name: str, packages: list[str], architecture: str) -> Path:
    """Unpack Debian's packages into CACHE/NAME, by an apt that knows of no other machine; once."""
    system, files, state = cache / name, cache / f"{name}-packages", cache / f"{name}-apt"
    if (system / "complete").exists():
        return system
    for folder in (files / "partial", state / "lists" / "partial", state / "cache" / "archives" / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    options = {"APT::Architecture": architecture, "APT::Architectures": architecture, "APT::Sandbox::User": "root"}
    options |= {"Dir::State": str(state), "Dir::State::status": str(state / "status")}
    options |= {"Dir::Cache": str(state / "cache")}
    apt = ["apt-get", *(f"-o{key}={value}" for key, value in options.items())]
    run([*apt, "update"])
    run([*apt, "download", *packages], cwd=files)
    for package in sorted(files.glob("*.deb")):
        run(["dpkg-deb", "-x", str(package), str(system)])
    (system / "complete").touch()
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


def arm_python(cache: Path, site: Path, counts: Path | None = None) -> list[str]:
    """The command that runs the emulated Python; with `counts`, what it does is counted and written there."""
    system = fetch(cache, "root", PACKAGES, "arm64")
    emulator = ["qemu-aarch64-static"]
    if counts is not None:
        emulator = [str(fetch(cache, "qemu", ["qemu-user"], "amd64") / "usr/bin/qemu-aarch64")]
        emulator += ["-plugin", f"{build_counter(cache)},out={counts}"]
    interpreter = str(system / "usr/bin/python3.11")
    home = {"PYTHONHOME": str(system / "usr"), "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    home |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "LD_LIBRARY_PATH": ""}
    settings = [part for key, value in home.items() for part in ("-E", f"{key}={value}")]
    return [*emulator, "-cpu", CPU, "-L", str(system), *settings, interpreter]


def build_counter(cache: Path) -> Path:
    """The plugin of qemu that counts instructions."""
    plugin = cache / "count_instructions.so"
    source = Path(__file__).with_name("count_instructions.c")
    run(["cc", "-O2", "-shared", "-fPIC", str(source), "-o", str(plugin)])
    return plugin

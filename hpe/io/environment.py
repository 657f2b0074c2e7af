"""Where a number was measured: hardware, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("numpy", "torch", "timm", "torch-pruning", "onnx", "onnx2tf", "tensorflow", "ai-edge-litert")


def environment() -> dict[str, str | int]:
    """Processor, cores, Python, versions of the installed packages, and the commit (`-dirty` with changes)."""
    facts: dict[str, str | int] = {
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "commit": commit(),
    }
    for package in PACKAGES:
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return facts


def processor() -> str:
    """The processor's or board's name as Linux tells it, else as Python does."""
    board = Path("/proc/device-tree/model")  # a Raspberry Pi says here what it is
    if board.exists():
        return board.read_text(errors="replace").strip("\0 \n")
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """The checkout's short commit, `-dirty` with uncommitted changes; `unknown` outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"

"""Where a number was measured: hardware, versions, and the commit or version of this project."""

from __future__ import annotations

import os
import platform
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

PROJECT = "head-pose-edge"
"""Its name in pyproject.toml and in the package registry."""
ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the package hpe: a checkout's root, or site-packages."""
PACKAGES = ("numpy", "torch", "timm", "torch-pruning", "onnx", "onnx2tf", "tensorflow", "ai-edge-litert")


def environment() -> dict[str, str | int]:
    """Processor, cores, Python, versions of the installed packages, and the commit or version of this project."""
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
    """This project's short commit, `-dirty` with uncommitted changes; `version X` where it is no checkout of its own.

    A package in site-packages may well lie in a checkout, but in somebody else's: its commit says nothing about us.
    """
    if _is_checkout(ROOT):
        described = _git(ROOT, "describe", "--always", "--dirty", "--abbrev=10")
        if described is not None:
            return described
    try:
        return f"version {metadata.version(PROJECT)}"
    except metadata.PackageNotFoundError:
        return "unknown"


def _is_checkout(root: Path) -> bool:
    """Whether `root` is the top of a git checkout of this project."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    top = _git(root, "rev-parse", "--show-toplevel")
    return project == PROJECT and top is not None and Path(top).resolve() == root


def _git(folder: Path, *arguments: str) -> str | None:
    """What git answers, or None where it is missing, fails or answers nothing."""
    try:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None

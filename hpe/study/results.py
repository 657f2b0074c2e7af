"""What a report reads of a run's result.json; keys that are not here are left to others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpe.io.errors import HpeError
from hpe.io.records import read_record
from hpe.model.lineage import RunConfig


class ReportError(HpeError, ValueError):
    """Runs that cannot be tabled; the message names the run and the missing step."""


@dataclass(frozen=True)
class FileSize:
    """One exported file."""

    size_bytes: int
    """As it is."""
    gzip_bytes: int
    """After gzip -9."""


@dataclass(frozen=True)
class Evaluation:
    """One file's error on one data set."""

    file: str
    """Its name in the run folder."""
    data: str
    """SPEC of the data."""
    mae_deg: dict[str, float]
    """yaw, pitch, roll and mean."""


@dataclass(frozen=True)
class Latency:
    """One file's time for an image."""

    median_ms: float
    """Median over all inferences."""
    valid: bool
    """Whether it was measured for long enough to count."""


@dataclass(frozen=True)
class RunResult:
    """A finished run, with what later steps measured."""

    config: RunConfig
    """What was asked for, and its lineage."""
    params: int
    """Parameters."""
    nonzeros: int
    """Those that are not zero."""
    macs: int
    """Multiply-accumulates for an image."""
    files: dict[str, FileSize] = field(default_factory=dict)
    """By name."""
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    """By file and data."""
    latency: dict[str, Latency] = field(default_factory=dict)
    """By file."""
    environment: dict[str, str | int] = field(default_factory=dict)
    """Where it was trained."""


def read_results(runs: Sequence[Path]) -> dict[str, RunResult]:
    """The results of run folders by name, or by path where two share a name."""
    results: dict[str, RunResult] = {}
    for run in runs:
        if not (run / "result.json").is_file():
            raise ReportError(f"{run}: no result.json there; give folders of finished runs")
        results[run.name if run.name not in results else str(run)] = read_record(RunResult, run / "result.json")
    return results


def data_specs(results: dict[str, RunResult]) -> list[str]:
    """The data on which at least one run was evaluated, in order of appearance."""
    return list(dict.fromkeys(e.data for result in results.values() for e in result.evaluations.values()))

"""What a report reads: result.json of runs, and the plan of a study; keys that are not here are left to others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpe.io.errors import HpeError
from hpe.io.records import read_record
from hpe.model.lineage import RunConfig
from hpe.study.spec import Equal


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
    n: int | None = None
    """Faces; None where it was not noted."""
    dropped: int | None = None
    """Faces that were left out for their wide angles."""
    skipped: int | None = None
    """Faces that could not be read."""
    engine: str = "litert"
    """What ran the file; only litert's errors are tabled."""


@dataclass(frozen=True)
class Latency:
    """One file's time for an image."""

    median_ms: float
    """Median over all inferences."""
    valid: bool
    """Whether it was measured for long enough to count."""
    processor: str = ""
    """Of the machine that measured it; empty where it was not noted."""


@dataclass(frozen=True)
class EngineCost:
    """What the int8 file costs on a board with one engine; None where that was not found out."""

    fits: bool
    """Whether it fits the board's memory beside core and sketch."""
    source: str
    """estimated or counted (cycles: on an emulated processor)."""
    flash_bytes: int | None = None
    """Model and code, without core and sketch."""
    ram_bytes: int | None = None
    """Arena or static buffer, without frame and core."""
    cycles: float | None = None
    """For an image."""
    ms: float | None = None
    """For an image."""


@dataclass(frozen=True)
class Poses:
    """Poses of every face of a data set, in its order."""

    data: str
    """SPEC of the data."""
    poses_deg: list[list[float]]
    """(faces, 3): yaw, pitch, roll."""


@dataclass(frozen=True)
class Twin:
    """Which row a run is the twin of."""

    of: str
    """The row's name."""
    equal: Equal
    """What both have in common."""


@dataclass(frozen=True)
class Reference:
    """The published rows that a run repeats."""

    file: str
    """A table of published figures."""
    line: int | list[int]
    """Rows in it, counted from 1 without the header."""


@dataclass(frozen=True)
class StudyPart:
    """A run's place in its study."""

    row: str
    """The same for all seeds."""
    family: str
    """dense, magnitude, channel or hybrid."""
    role: str
    """row, twin, control or baseline."""
    seed: int
    """Of its training."""
    twin: Twin | None = None
    """Of which row; None where it is no twin."""
    labels: dict[str, Any] = field(default_factory=dict)
    """What tells the row from others."""
    reference: Reference | None = None
    """What it repeats; None where nothing was published."""
    against: str | None = None
    """The row that it is tested against; None where none was named."""


@dataclass(frozen=True)
class PlannedRun(StudyPart):
    """A run that a study is to make."""

    id: str = ""
    """The name of its folder."""


@dataclass(frozen=True)
class Plan:
    """What a study is to make."""

    name: str
    """Of its file."""
    title: str
    """For readers."""
    commit: str
    """Of this project, when the plan was made."""
    runs: list[PlannedRun]
    """In the order of the plan."""


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
    nonzero_macs: int | None = None
    """Those with a weight that is not zero; None outside of a study."""
    images: int | None = None
    """That it was trained on; None where it was not noted."""
    files: dict[str, FileSize] = field(default_factory=dict)
    """By name."""
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    """By file and data."""
    latency: dict[str, Latency] = field(default_factory=dict)
    """By file."""
    environment: dict[str, str | int] = field(default_factory=dict)
    """Where it was trained."""
    footprint: dict[str, dict[str, EngineCost]] = field(default_factory=dict)
    """By board and engine."""
    predictions: dict[str, Poses] = field(default_factory=dict)
    """By file."""
    truth: Poses | None = None
    """Of the same faces."""
    study: StudyPart | None = None
    """None for a run outside of a study, or one that is not complete."""


@dataclass(frozen=True)
class Study:
    """A study's folder as it is now."""

    plan: Plan
    """What is to be made."""
    results: dict[str, RunResult]
    """Complete runs by id, in the order of the plan."""
    failed: list[str]
    """Ids of runs that failed and were not made since."""

    @property
    def missing(self) -> list[PlannedRun]:
        """Runs of the plan that are not complete."""
        return [run for run in self.plan.runs if run.id not in self.results]


def read_results(runs: Sequence[Path]) -> dict[str, RunResult]:
    """The results of run folders by name, or by path where two share a name."""
    results: dict[str, RunResult] = {}
    for run in runs:
        if not (run / "result.json").is_file():
            raise ReportError(f"{run}: no result.json there; give folders of finished runs")
        name = run.resolve().name
        results[name if name not in results else str(run)] = read_record(RunResult, run / "result.json")
    return results


def read_study(folder: Path) -> Study:
    """The study in a folder: its plan, and every run that is complete; ReportError or FileError says what is wrong."""
    if not (folder / "plan.json").is_file():
        raise ReportError(f"{folder}: no plan.json there; give the folder that `hpe study run` wrote")
    plan = read_record(Plan, folder / "plan.json")
    results = {}
    for run in plan.runs:
        path = folder / "runs" / run.id / "result.json"
        if not run.id or Path(run.id).name != run.id:
            raise ReportError(f"{folder / 'plan.json'}: '{run.id}' is no name of a run; make the plan again")
        if path.is_file() and (result := read_record(RunResult, path)).study is not None:
            results[run.id] = _planned(result, run, path)
    failed = [run.id for run in plan.runs if run.id not in results and (folder / "failed" / f"{run.id}.log").exists()]
    return Study(plan, results, failed)


def _planned(result: RunResult, run: PlannedRun, path: Path) -> RunResult:
    """The result, if it is that of the run that the plan has in its folder."""
    found = result.study
    if found is not None and (found.row, found.seed) != (run.row, run.seed):
        raise ReportError(
            f"{path}: it holds {found.row} (seed {found.seed}), but the plan has {run.row} (seed {run.seed}) there; "
            "remove that folder and run the study again"
        )
    return result


def data_specs(results: dict[str, RunResult]) -> list[str]:
    """The data on which at least one run was evaluated, in order of appearance."""
    return list(dict.fromkeys(e.data for result in results.values() for e in result.evaluations.values()))

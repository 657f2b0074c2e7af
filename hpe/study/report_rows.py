"""From results to rows: a row is a network in all its seeds, its values their means, with the spread beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from hpe.model.lineage import Lineage
from hpe.study.results import Poses, RunResult, Study, StudyPart
from hpe.study.statistics import face_errors, spread

Row = dict[str, Any]
Groups = dict[str, dict[int, RunResult]]
"""Results by row and seed."""

KINDS = {"fp32": "model_fp32.tflite", "sparse": "model_sparse.tflite", "dynamic": "model_dynamic.tflite",
         "int8": "model_int8.tflite"}  # fmt: skip
"""Kinds of file: the paper's pruned, sparsity-optimised and quantised ones, and full int8."""
CHECKPOINT = "model.safetensors"
MEASURED = ("params", "nonzeros", "macs", "nonzero_macs",
            *(f"{kind}_{what}" for kind in KINDS for what in ("mb", "gzip_mb", "ms")), "float_mae_deg",
            *(f"{kind}_mae_deg" for kind in KINDS),
            *(f"{kind}_{angle}_deg" for kind in ("float", "int8") for angle in ("yaw", "pitch", "roll")))  # fmt: skip
"""What a row has a mean and a spread of."""


def plain_groups(results: Mapping[str, RunResult]) -> Groups:
    """Runs by themselves, whether of a study or not: each is a row of its own."""
    return {name: {result.study.seed if result.study else 0: result} for name, result in results.items()}


def study_groups(study: Study) -> Groups:
    """The complete runs of a study by row and seed, in the order of the plan."""
    groups: Groups = {}
    for run in study.plan.runs:
        if run.id in study.results:
            groups.setdefault(run.row, {})[run.seed] = replace(study.results[run.id], study=run)
    return groups


def on_same_faces(groups: Groups, spec: str) -> Groups:
    """Without the runs for which `spec` meant other faces, or more or fewer, than for the first one that noted them."""
    truth = _first_truth(groups, spec)
    runs = [result for by_seed in groups.values() for result in by_seed.values()]
    counts = next((found for run in runs if (found := _counts(run, spec))), set())

    def alike(run: RunResult) -> bool:
        same = not _is(run.truth, spec) or _poses(run.truth) == _poses(truth)
        return same and (_counts(run, spec) or counts) == counts

    kept = {name: {seed: r for seed, r in by_seed.items() if alike(r)} for name, by_seed in groups.items()}
    return {name: by_seed for name, by_seed in kept.items() if by_seed}


def _counts(run: RunResult, spec: str) -> set[tuple[int | None, ...]]:
    """How many faces of the data `spec` its files were tried on, and how many were left out or could not be read."""
    tried = [e for e in run.evaluations.values() if e.data == spec]
    return {(e.n, e.dropped, e.skipped) for e in tried if e.n is not None}


def timed_alike(groups: Groups) -> tuple[Groups, list[str]]:
    """Without times that do not compare, and the names of the machines that are left out: times of one machine stay,
    the one that timed most runs, and of a kind of file that was timed for long enough in any run no short ones.
    """
    runs = [result for by_seed in groups.values() for result in by_seed.values()]
    counts = Counter(name for run in runs for name in {latency.processor for latency in run.latency.values()} if name)
    machine, *others = [name for name, _ in counts.most_common()] or [""]
    count = {f for run in runs for f, each in run.latency.items() if each.valid and each.processor == machine}

    def kept(run: RunResult) -> RunResult:
        times = {
            file: each
            for file, each in run.latency.items()
            if each.processor == machine and (each.valid or file not in count)
        }
        return replace(run, latency=times)

    return {name: {seed: kept(run) for seed, run in by_seed.items()} for name, by_seed in groups.items()}, others


def choice_spec(groups: Groups) -> str | None:
    """SPEC of the validation data by which rows can be chosen: that of all runs, if all int8 files were tried on it."""
    runs = [result for by_seed in groups.values() for result in by_seed.values()]
    specs = {run.config.val for run in runs}
    spec = specs.pop() if len(specs) == 1 else None
    return spec if spec is not None and all(_values(run, spec)["int8_mae_deg"] is not None for run in runs) else None


def make_rows(groups: Groups, spec: str) -> list[Row]:
    """A row for each group: what its results hold for the data `spec`; what was not measured is None.

    `choice_mae_deg` is the int8 error by which rows are to be chosen, on the data of `choice_spec` where it is known.
    """
    chosen_by = choice_spec(groups)
    return [_row(name, by_seed, spec, chosen_by) for name, by_seed in groups.items()]


def _row(name: str, by_seed: Mapping[int, RunResult], spec: str, chosen_by: str | None) -> Row:
    results = list(by_seed.values())
    part, lineage = results[0].study, results[0].config.lineage
    row: Row = {"model": name, "family": part.family if part else lineage.family}
    row |= {"role": part.role if part else "row", "pruned_to": pruned_to(lineage)}
    row |= {"n": len(results), "seeds": list(by_seed) if part else []}
    measured = [_values(result, spec) for result in results]
    for key in MEASURED:
        found = [values[key] for values in measured if values[key] is not None]
        row[key] = _whole(spread(found).mean, found) if found else None
        row[f"{key}_sd"] = spread(found).sd if found else None
    for kind in KINDS:
        timed = [r.latency[KINDS[kind]] for r in results if KINDS[kind] in r.latency]
        row[f"{kind}_ms_short"] = any(not latency.valid for latency in timed) if timed else None
    choices = [_values(result, chosen_by)["int8_mae_deg"] for result in results] if chosen_by else []
    row["choice_mae_deg"] = spread(choices).mean if choices else row["int8_mae_deg"]
    row["twin"] = asdict(part.twin) if part and part.twin else None
    row["against"] = part.against if part else None
    row["labels"] = part.labels if part else {}
    row["boards"] = _boards(results)
    return row


def _values(result: RunResult, spec: str) -> Row:
    mae = {e.file: e.mae_deg for e in result.evaluations.values() if e.data == spec and e.engine == "litert"}
    mae["float"] = mae.get(CHECKPOINT, mae.get(KINDS["fp32"], {}))
    values: Row = {name: getattr(result, name) for name in ("params", "nonzeros", "macs", "nonzero_macs")}
    for kind, file in KINDS.items():
        size, latency = result.files.get(file), result.latency.get(file)
        values[f"{kind}_mb"] = size.size_bytes / 1e6 if size else None
        values[f"{kind}_gzip_mb"] = size.gzip_bytes / 1e6 if size else None
        values[f"{kind}_ms"] = latency.median_ms if latency else None
        values[f"{kind}_mae_deg"] = mae.get(file, {}).get("mean")
    values["float_mae_deg"] = mae["float"].get("mean")
    for kind, file in (("float", "float"), ("int8", KINDS["int8"])):
        for angle in ("yaw", "pitch", "roll"):
            values[f"{kind}_{angle}_deg"] = mae.get(file, {}).get(angle)
    return values


def _boards(results: Sequence[RunResult]) -> dict[str, dict[str, Row]]:
    """The mean cost on every board with every engine that all seeds were measured with."""
    boards: dict[str, dict[str, Row]] = {}
    for board, engines in results[0].footprint.items():
        for engine in engines:
            costs = [r.footprint[board][engine] for r in results if engine in r.footprint.get(board, {})]
            if len(costs) < len(results):
                continue
            cost: Row = {"fits": all(c.fits for c in costs), "source": costs[0].source}
            for key in ("flash_bytes", "ram_bytes", "cycles", "ms"):
                found = [value for c in costs if (value := getattr(c, key)) is not None]
                cost[key] = spread(found).mean if found else None
            boards.setdefault(board, {})[engine] = cost
    return boards


def _whole(mean: float, found: Sequence[float]) -> float | int:
    """A mean of whole numbers that is one itself stays one."""
    return int(mean) if isinstance(found[0], int) and mean == int(mean) else mean


def pruned_to(lineage: Lineage) -> str | None:
    """What the last pruning was asked for, in words; None where nobody pruned, or blocks were dropped."""
    if lineage.target:
        limits = (n if isinstance(n, str) else f"{n:,} {name.replace('_', ' ')}" for name, n in lineage.target.items())
        return ", ".join(limits)
    return None if lineage.sparsity is None else f"{lineage.sparsity:.1%} sparsity"


def errors_by_face(groups: Groups, spec: str) -> dict[tuple[str, str], dict[int, np.ndarray]]:
    """Errors (faces,) by (row, kind of file) and seed, of all runs that noted each face of the data `spec`; of groups
    that are `on_same_faces`.
    """
    truth = _poses(_first_truth(groups, spec))
    errors: dict[tuple[str, str], dict[int, np.ndarray]] = {}
    kinds = {file: kind for kind, file in KINDS.items()} | {CHECKPOINT: "float"}
    for name, by_seed in groups.items():
        for seed, result in by_seed.items():
            for file, poses in result.predictions.items() if _is(result.truth, spec) else ():
                if file in kinds and poses.data == spec and len(poses.poses_deg) == len(truth):
                    found = face_errors(poses.poses_deg, truth)
                    errors.setdefault((name, kinds[file]), {})[seed] = found
    return errors


def _first_truth(groups: Groups, spec: str) -> Poses | None:
    """The poses of the faces that the first run with any noted for the data `spec`."""
    return next((r.truth for by_seed in groups.values() for r in by_seed.values() if _is(r.truth, spec)), None)


def _poses(truth: Poses | None) -> list[list[float]]:
    return [] if truth is None else truth.poses_deg


def _is(truth: Poses | None, spec: str) -> bool:
    return truth is not None and truth.data == spec and len(truth.poses_deg) > 0


def reference_lines(part: StudyPart | None) -> list[int]:
    """The published rows that a run repeats, counted from 1."""
    if part is None or part.reference is None:
        return []
    return part.reference.line if isinstance(part.reference.line, list) else [part.reference.line]

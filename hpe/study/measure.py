"""What a study measures of a trained run: files, errors with every face's pose, footprint, latency; one last write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hpe.data.faces import Faces, load_faces
from hpe.deploy.bench import run_bench
from hpe.deploy.export import run_export
from hpe.deploy.footprint import engine_facts
from hpe.inference.predictor import load_predictor
from hpe.io.files import read_json, write_json
from hpe.model.zoo import INT8
from hpe.pose.crop import centre_crop
from hpe.pose.metrics import pose_metrics
from hpe.study.planned import RunSettings
from hpe.study.spec import FilesSpec

Report = Callable[[str], None]
BATCH = 256
TRAINED = "model.safetensors"


def finish(run: Path, settings: RunSettings, files: FilesSpec, study: dict[str, Any], report: Report) -> None:
    """Export, evaluate and weigh a trained run; RUN/result.json is complete by one write at the end.

    Validation faces are read before, test faces once, and nothing is chosen by them.
    """
    if settings.formats:
        run_export(run, settings.calibration, settings.formats, files.tolerance_deg, report)
    result = read_json(run / "result.json")
    made = {name: run / name for name in result.get("files", {})}
    facts: dict[str, Any] = {"evaluations": {}, "predictions": {}, "footprint": {}, "latency": {}}
    facts["nonzero_macs"] = nonzero_macs(run)
    if INT8 in made:
        facts["footprint"] = {board: footprints(made[INT8], board, report) for board in files.boards}
    tflite = [path for path in made.values() if path.suffix == ".tflite" and "sparse" not in path.stem]
    if files.latency_seconds and tflite:
        run_bench(tflite, files.latency_seconds)
        facts["latency"] = read_json(run / "result.json").get("latency", {})
    for data in (settings.recipe.val, settings.test):
        assert data is not None
        faces = load_faces(data, skip_bad=settings.recipe.skip_bad)
        poses = {name: predict(run if name == TRAINED else run / name, faces) for name in (TRAINED, *made)}
        for name, predicted in poses.items():
            errors = pose_metrics(predicted, faces.pose_deg, faces.dropped, faces.skipped).to_dict()
            facts["evaluations"][f"{name} on {data}"] = {"file": name, "data": data, **errors}
        report(f"{data}: " + ", ".join(f"{name} {_mean(facts, name, data):.2f}" for name in poses))
    facts["predictions"] = {name: {"data": settings.test, "poses_deg": rounded(p)} for name, p in poses.items()}
    facts["truth"] = {"data": settings.test, "poses_deg": rounded(faces.pose_deg)}
    for path in made.values():
        if files.keep is not None and result["files"][path.name]["format"] not in files.keep:
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)
    write_json(run / "result.json", result | facts | {"study": study})


def predict(model: Path, faces: Faces) -> np.ndarray:
    """Poses in degrees (N, 3) of the standard crops of faces, by a run folder or a model file."""
    run = load_predictor(model)
    return np.concatenate([run(centre_crop(faces.images[i : i + BATCH])) for i in range(0, len(faces), BATCH)])


def rounded(poses_deg: np.ndarray) -> list[list[float]]:
    """Poses (N, 3) to a hundredth of a degree, for JSON."""
    return np.round(poses_deg.astype(np.float64), 2).tolist()


def nonzero_macs(run: Path) -> int:
    """Multiply-accumulates for an image, those with a weight of zero left out."""
    from hpe.model.net import example_input, load_model
    from pruning.stats import stats

    network = load_model(run)
    total = 0.0
    for layer in stats(network, example_input()).layers:
        if layer.macs:
            weight = network.get_parameter(f"{layer.name}.weight")
            total += layer.macs * int(weight.count_nonzero()) / weight.numel()
    return round(total)


def footprints(file: Path, board: str, report: Report) -> dict[str, dict[str, Any]]:
    """What an int8 file takes on a board by engine; an engine that does not take it is left out, with a line."""
    from export.errors import ExportError
    from export.micro.engines import engine_costs

    try:
        costs = engine_costs(file, board)
    except ExportError as error:
        report(f"{file.name} on {board}: {error}")
        return {}
    for engine, cost in costs.items():
        if cost["flash_bytes"] is None:
            report(f"{file.name} with {engine} on {board}: {', '.join(cost['reasons'])}")
    return engine_facts(costs)


def _mean(facts: dict[str, Any], name: str, data: str) -> float:
    return facts["evaluations"][f"{name} on {data}"]["mae_deg"]["mean"]

"""One evaluation for every file format: mean absolute error an angle, and geodesic distance, in degrees."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpe.data.faces import Faces, load_faces
from hpe.inference.predictor import Predict, load_predictor
from hpe.io.errors import ConfigError
from hpe.io.files import note_result
from hpe.model.zoo import resolve_model
from hpe.pose.crop import centre_crop
from hpe.pose.metrics import PoseMetrics, pose_metrics


def evaluate(predict: Predict, faces: Faces, batch_size: int = 256) -> PoseMetrics:
    """Run `predict` over the standard crops of `faces` and compare with their poses."""
    batches = [predict(centre_crop(faces.images[i : i + batch_size])) for i in range(0, len(faces), batch_size)]
    return pose_metrics(np.concatenate(batches), faces.pose_deg, faces.dropped, faces.skipped)


def run_evaluate(model: str | Path, data: str, skip_bad: bool = False, engine: str = "litert") -> PoseMetrics:
    """Errors of a run, model file or released model on a data SPEC; noted in the result.json of its run, if any."""
    model = resolve_model(model)
    if model.is_dir() and engine != "litert":
        raise ConfigError(f"--engine {engine} runs model files; give the int8 .tflite file of {model}, not the run")
    predict = load_predictor(model, engine=engine)
    metrics = evaluate(predict, load_faces(data, skip_bad=skip_bad))
    run = model if model.is_dir() else model.parent
    if (run / "result.json").exists():
        name = "model.safetensors" if model.is_dir() else model.name
        with_engine = name if engine == "litert" else f"{name} by {engine}"
        entry = {"file": name, "data": data, "engine": engine, **metrics.to_dict()}
        note_result(run, "evaluations", {f"{with_engine} on {data}": entry})
    return metrics

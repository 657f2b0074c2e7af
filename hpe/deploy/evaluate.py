"""One evaluation for every file format: mean absolute error an angle, and geodesic distance, in degrees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hpe.data.faces import Faces
from hpe.inference.predictor import Predict
from hpe.pose.crop import centre_crop
from hpe.pose.metrics import PoseMetrics, pose_metrics


def evaluate(predict: Predict, faces: Faces, batch_size: int = 256) -> PoseMetrics:
    """Run `predict` over the standard crops of `faces` and compare with their poses."""
    batches = [predict(centre_crop(faces.images[i : i + batch_size])) for i in range(0, len(faces), batch_size)]
    metrics = pose_metrics(np.concatenate(batches), faces.pose_deg, faces.dropped)
    return replace(metrics, skipped=faces.skipped)

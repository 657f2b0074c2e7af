"""One evaluation for every file format: mean absolute error an angle, and geodesic distance, in degrees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpe.data.faces import Faces
from hpe.model.preprocess import centre_crop
from hpe.pose.rotation import euler_to_matrix, geodesic_deg, wrap_deg

Predict = Callable[[np.ndarray], np.ndarray]
"""uint8 crops (N, 64, 64, 3) RGB to poses (N, 3), yaw, pitch and roll in degrees."""

ANGLES = ("yaw", "pitch", "roll")


@dataclass(frozen=True)
class PoseMetrics:
    """Errors in degrees over `n` faces; `dropped` were left out (an angle beyond 99 degrees, or a bad row skipped)."""

    mae_deg: dict[str, float]
    """yaw, pitch, roll and their mean."""
    geodesic_deg: float
    """Mean angle of the rotation that turns the predicted pose into the true one."""
    n: int
    dropped: int

    @property
    def mean_deg(self) -> float:
        """The mean of the three angles' errors: the one number of the tables."""
        return self.mae_deg["mean"]

    def to_dict(self) -> dict[str, Any]:
        return {"mae_deg": self.mae_deg, "geodesic_deg": self.geodesic_deg, "n": self.n, "dropped": self.dropped}


def pose_metrics(predicted_deg: np.ndarray, true_deg: np.ndarray, dropped: int = 0) -> PoseMetrics:
    """Errors of poses (N, 3) against the truth (N, 3); differences are wrapped by 360 degrees, never by 180."""
    if predicted_deg.shape != true_deg.shape or true_deg.ndim != 2 or true_deg.shape[1] != 3 or not len(true_deg):
        raise ValueError(
            f"poses must be two equal arrays (N, 3), N at least 1; got {predicted_deg.shape}, {true_deg.shape}"
        )
    if not np.isfinite(predicted_deg).all():
        raise ValueError("the model's output holds a value that is no number; train again with a lower --lr")
    errors = np.abs(wrap_deg(predicted_deg.astype(np.float64) - true_deg))  # (N, 3)
    mae = {name: float(value) for name, value in zip(ANGLES, errors.mean(axis=0), strict=True)}
    mae["mean"] = float(errors.mean())
    geodesic = geodesic_deg(
        euler_to_matrix(predicted_deg.astype(np.float64)), euler_to_matrix(true_deg.astype(np.float64))
    )
    return PoseMetrics(mae, float(np.mean(geodesic)), len(true_deg), dropped)


def evaluate(predict: Predict, faces: Faces, batch_size: int = 256) -> PoseMetrics:
    """Run `predict` over the standard crops of `faces` and compare with their poses."""
    batches = [predict(centre_crop(faces.images[i : i + batch_size])) for i in range(0, len(faces), batch_size)]
    return pose_metrics(np.concatenate(batches), faces.pose_deg, faces.dropped)

"""Errors of poses: mean absolute error per angle, and geodesic distance, in degrees."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hpe.pose.rotation import euler_to_matrix, geodesic_deg, wrap_deg

ANGLES = ("yaw", "pitch", "roll")


@dataclass(frozen=True)
class PoseMetrics:
    """Errors in degrees over `n` faces."""

    mae_deg: dict[str, float]
    """yaw, pitch, roll and their mean."""
    geodesic_deg: float
    """Mean angle of the rotation that turns the predicted pose into the true one."""
    n: int
    """Faces measured."""
    dropped: int
    """Faces left out because an angle is beyond 99 degrees."""
    skipped: int = 0
    """Faces left out because their sample cannot be used (with --skip-bad)."""

    @property
    def mean_deg(self) -> float:
        """The mean of the three angles' errors: the one number of the tables."""
        return self.mae_deg["mean"]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def pose_metrics(predicted_deg: np.ndarray, true_deg: np.ndarray, dropped: int = 0, skipped: int = 0) -> PoseMetrics:
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
    return PoseMetrics(mae, float(np.mean(geodesic)), len(true_deg), dropped, skipped)

"""A video of synthetic heads that turn, with their exact poses: a camera for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

SIDE, MARGIN = 112, 64
"""Of a head's standard crop in pixels, and of what is painted around it."""


def turning(count: int, yaw_deg: float = 20.0, pitch_deg: float = 0.0, roll_deg: float = 0.0) -> np.ndarray:
    """Poses (N, 3) in degrees that go from (-yaw, pitch, roll) to (yaw, pitch, roll)."""
    return np.stack([np.linspace(-yaw_deg, yaw_deg, count), np.full(count, pitch_deg), np.full(count, roll_deg)], 1)


def head_video(path: Path, poses_deg: Sequence[np.ndarray], rate: float = 10.0) -> Path:
    """A motion-JPEG file with a head for each of `poses_deg` (each (N, 3)) side by side, N frames."""
    import cv2

    from hpe.synthetic.presets import PRESETS
    from hpe.synthetic.scene import Scene

    heads = [Scene.draw(3, index, PRESETS["easy"]) for index in range(len(poses_deg))]
    side = SIDE + 2 * MARGIN
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (side * len(heads), side))
    for row in zip(*poses_deg, strict=True):
        pictures = [replace(head, pose_deg=pose).paint(SIDE, MARGIN) for head, pose in zip(heads, row, strict=True)]
        writer.write(np.ascontiguousarray(np.concatenate(pictures, axis=1)[..., ::-1]))
    writer.release()
    return path

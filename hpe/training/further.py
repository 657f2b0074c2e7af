"""How good the further outputs of a network are, on validation faces: place, face or none, and spread."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hpe.model.net import outputs_of
from hpe.model.outputs import POSE, output_parts, read_outputs
from hpe.pose.crop import IMAGE_SIZE, centre_crop
from hpe.training.augment import AugmentConfig, TrainAugment

if TYPE_CHECKING:
    from hpe.data.faces import Faces

DISTURBED = replace(AugmentConfig.off(), shift=6 / IMAGE_SIZE, scale=0.1, no_face=0.5)
"""The crops on which place and face are measured: off by up to 6 of 64 pixels, half of them without a face."""
BATCH = 256


@torch.inference_mode()
def further_metrics(network: Any, val: Faces) -> dict[str, float]:
    """Columns of metrics.csv; none for a network of three outputs.

    val_shift_px: mean absolute error of a shift in pixels of 64; val_face_accuracy: the share of crops that the score
    tells rightly, at one half; val_surprise: the mean of log b + |e| / b (Laplace), which only a spread that follows
    the error lowers; the disturbed crops are the same at each call.
    """
    outputs = outputs_of(network, centre_crop(val.images))
    locate, spread = output_parts(outputs.shape[1])
    row = {}
    if locate:
        row |= _place_metrics(network, val)
    if spread:
        spread_deg = read_outputs(outputs).spread_deg
        assert spread_deg is not None
        error = np.abs(outputs[:, :POSE] - val.pose_deg)
        row["val_surprise"] = float((np.log(spread_deg) + error / spread_deg).mean())
    return row


def _place_metrics(network: Any, val: Faces) -> dict[str, float]:
    device = next(network.parameters()).device
    vary, generator = TrainAugment(DISTURBED, locate=True), torch.Generator().manual_seed(0)
    shifts, told = [], []
    for start in range(0, len(val), BATCH):
        images = torch.from_numpy(np.ascontiguousarray(val.images[start : start + BATCH]))
        poses = torch.from_numpy(np.asarray(val.pose_deg[start : start + BATCH], np.float32))
        inputs, targets = vary(images, poses, generator)
        reading = read_outputs(network(inputs.to(device)).float().cpu().numpy())
        true, face = targets[:, 3:5].numpy(), targets[:, 6].numpy() > 0.5
        assert reading.place is not None
        assert reading.face is not None
        shifts.append(np.abs(reading.place[face, :2] - true[face]) * IMAGE_SIZE)
        told.append((reading.face > 0.5) == face)
    return {
        "val_shift_px": float(np.concatenate(shifts).mean()),
        "val_face_accuracy": float(np.concatenate(told).mean()),
    }

"""Undo a regressor's shrinkage: a line for each angle, fitted on faces it was not trained on, put into its last layer.

A network trained on noisy labels answers too near to the mean pose where it is unsure, and a mean error over faces
that look ahead, as most do, hardly shows it. Here slope and offset of each angle minimise the absolute error over faces
weighted by the rarity of their poses (`hpe.data.sampling`), as `--balance` does while training. Mirrored faces count as
much, so that the offsets of yaw and roll are zero, as symmetry wants.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hpe.deploy.evaluate import ANGLES, pose_metrics
from hpe.io.files import read_json, write_json
from hpe.pose.rotation import flip_pose
from hpe.training.config import ConfigError, run_id

if TYPE_CHECKING:
    from torch import nn

SLOPES = np.arange(100, 401) / 200
"""The slopes that are tried; the error is convex in the slope."""


def run_stretch(source: Path, data: str, out: Path, balance: float, report: Callable[[str], None] = print) -> Path:
    """Stretch the angles of run `source` by what the faces of SPEC `data` say; the new network is kept in `out`.

    Raises:
        ConfigError: if `out` exists, or `source` is no run folder.
    """
    import torch

    from hpe.data.faces import load_faces
    from hpe.data.sampling import pose_weights
    from hpe.model.net import load_model, save_checkpoint
    from hpe.model.preprocess import centre_crop
    from hpe.training.loop import predict_all

    if out.exists():
        raise ConfigError(f"--out {out}: exists; give the folder of a new run")
    if not (source / "result.json").exists():
        raise ConfigError(f"{source}: no result.json there; give the folder of a finished run")
    network, faces = load_model(source), load_faces(data)
    true = np.array(faces.pose_deg)  # (N, 3)
    crops = centre_crop(faces.images)
    predicted = predict_all(network, crops)
    both = np.concatenate([predicted, predict_all(network, crops[:, :, ::-1])])  # (2N, 3)
    weights = np.tile(pose_weights(torch.from_numpy(true), balance).double().numpy(), 2)
    slope, offset = fit_lines(both, np.concatenate([true, flip_pose(true)]), weights)
    stretch(network.last_layer, slope, offset / network.output_scale_deg)
    stretched = predict_all(network, crops)
    for name, a, b in zip(ANGLES, slope, offset, strict=True):
        report(f"{name}: {a:.3f} times{f', {b:+.2f} deg' if b else ''}")
    rare = weights[: len(true), None] / weights.mean()
    for poses, when in ((predicted, "before"), (stretched, "after")):
        error = np.abs(poses - true)  # (N, 3)
        report(f"{when}: {error.mean():.3f} deg, by rarity {(error * rare).mean():.3f} deg")
    config = {**read_json(source / "config.json"), "command": "stretch", "parent": str(source), "val": data}
    config["stretch"] = {"balance": balance, "slope": slope.tolist(), "offset_deg": offset.tolist()}
    write_json(out / "config.json", config)
    save_checkpoint(network, out)
    kept = ("images", "dropped", "params", "nonzeros", "macs", "train_seconds", "environment")
    summary = {key: value for key, value in read_json(source / "result.json").items() if key in kept}
    val = pose_metrics(stretched, true, faces.dropped).to_dict()
    write_json(out / "result.json", {"id": run_id(config), "config": config, **summary, "val": val})
    return out


def fit_lines(predicted: np.ndarray, true: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes (3,) and offsets (3,) in degrees for yaw, pitch, roll: the least weighted mean of |slope p + offset - t|.

    Args:
        predicted, true: poses (N, 3) in degrees, of faces and of their mirror images.
        weights: (N,), not negative.
    """
    slopes, offsets = np.ones(3), np.zeros(3)
    for i, name in enumerate(ANGLES):
        candidates = []
        for slope in SLOPES:
            missing = true[:, i] - slope * predicted[:, i]  # (N,)
            offset = weighted_median(missing, weights) if name == "pitch" else 0.0
            candidates.append((float((weights * np.abs(missing - offset)).sum()), slope, offset))
        _, slopes[i], offsets[i] = min(candidates)
    return slopes, offsets


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value (of N) below and above which there is at most half of the weight."""
    order = np.argsort(values)
    gathered = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(gathered, gathered[-1] / 2)])


def stretch(layer: nn.Linear, slope: np.ndarray, offset: np.ndarray) -> None:
    """Give the outputs (B, 3) of a dense layer a slope (3,) and an offset (3,) in its own units, in place."""
    import torch

    factor = torch.from_numpy(slope).float()
    with torch.no_grad():
        layer.weight.mul_(factor[:, None])
        layer.bias.mul_(factor).add_(torch.from_numpy(offset).float())

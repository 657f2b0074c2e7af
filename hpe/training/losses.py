"""What training minimises: the labels' error, and what a teacher answers on the same images."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from hpe.io.errors import ConfigError
from hpe.model.net import OUTPUT_SCALE_DEG, HeadPoseNet
from hpe.model.outputs import (
    PLACE,
    PLACE_UNIT,
    POSE,
    SCORE_UNIT,
    SPREAD,
    SPREAD_AT_ZERO_DEG,
    SPREAD_UNIT,
    output_parts,
)
from hpe.pose.rotation import flip_pose
from hpe.training.config import DistillConfig
from hpe.training.parallel import average, of_all

Objective = Callable[[Any, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(network, images (B, 3, 64, 64), targets) -> the loss to minimise, and the poses (B, 3) that it answered.

Targets are poses in degrees (B, 3), or (B, 8) for a network that locates: and where the face is, whether it is one, and
whether its pose counts.
"""

PLACE_WEIGHT, FACE_WEIGHT, SPREAD_WEIGHT = 0.3, 0.1, 0.02
"""What the further outputs count beside the pose, whose error they must not raise."""
SURE = 0.02
"""A network is to be sure of a face, or of none, up to this share: its score stays in the range of its angles."""


def pose_loss(predicted_deg: Tensor, target_deg: Tensor, counts: Tensor | None = None) -> Tensor:
    """Mean absolute error over angles (B, 3), in units of 30 degrees: the paper's MAE loss, scaled.

    Where `counts` (B,) is given, images count where it is 1, not where it is 0.
    """
    return _mean((predicted_deg - target_deg).abs(), counts) / OUTPUT_SCALE_DEG


def supervised(network: Any, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The labels alone."""
    outputs = _run(images, network)  # (B, K)
    pose = outputs[:, :POSE]
    return pose_loss(pose, targets[:, :POSE], pose_counts(targets)) + further_loss(outputs, targets), pose


def pose_counts(targets: Tensor) -> Tensor | None:
    """1 where an image's pose counts and 0 where not, (B,), of targets (B, 8); None of poses alone (B, 3): all do."""
    return targets[:, POSE + PLACE] if targets.shape[1] > POSE else None


def further_loss(outputs: Tensor, targets: Tensor) -> Tensor | float:
    """What is lost by the outputs (B, K) beyond the pose: place and face (cross-entropy), and spread; 0 without any.

    The spread is Laplace's: log b + |e| / b, e being the error of the pose, which learns nothing from that.
    """
    locate, spread = output_parts(outputs.shape[1])
    loss = 0.0
    if locate:
        face = targets[:, POSE + PLACE - 1]  # (B,)
        place = (outputs[:, 3:6] - PLACE_UNIT * targets[:, 3:6]).abs() / OUTPUT_SCALE_DEG  # (B, 3)
        wanted = SURE + (1 - 2 * SURE) * face
        score = binary_cross_entropy_with_logits(outputs[:, 6] / SCORE_UNIT, wanted)
        loss = loss + PLACE_WEIGHT * _mean(place, face) + FACE_WEIGHT * score
    if spread:
        log_b = outputs[:, -SPREAD:] / SPREAD_UNIT + math.log(SPREAD_AT_ZERO_DEG)  # (B, 3)
        error = (outputs[:, :POSE] - targets[:, :POSE]).abs().detach()
        surprise = log_b + error * (-log_b).exp()
        loss = loss + SPREAD_WEIGHT * _mean(surprise, pose_counts(targets))
    return loss


def _mean(values: Tensor, counts: Tensor | None) -> Tensor:
    """The mean of values (B, n) over the images for which counts (B,) is 1, 0 where none is; over all without it.

    Of several processes each divides by what counts for one of them on average, so that the mean over all is right.
    """
    if counts is None:
        return values.mean()
    return (values.mean(1) * counts).sum() / average(counts.sum()).clamp_min(1e-6)


def distilled(teacher: HeadPoseNet, student: HeadPoseNet, config: DistillConfig) -> Objective:
    """Labels and teacher, mixed by `config`; the teacher is put into evaluation mode on the student's device.

    The student's pooled features are read where `config.feature_weight` is above 0; that takes the plain student, not
    a view of it.
    """
    heads = {"network": student.config.head, "teacher": teacher.config.head}
    for whose, head in heads.items() if config.feature_weight else ():
        if head != "gap":
            raise ConfigError(f"--feature-weight reads pooled features; the {whose}'s head has none. Leave it out.")
    teacher.eval().requires_grad_(False).to(next(student.parameters()).device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def objective(network: Any, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            wanted = _run(images, teacher.backbone)  # (B, C)
            wanted_deg = teacher.pose(wanted)[:, :POSE]  # (B, 3)
            if config.teacher_flip_tta:
                wanted_deg = (wanted_deg + flip_pose(_run(images.flip(3), teacher)[:, :POSE])) / 2
        if config.feature_weight:
            features = _run(images, student.backbone)  # (B, C'), C' may be smaller
            outputs = student.pose(features)
        else:
            features, outputs = None, _run(images, network)
        share, pose, counts = config.teacher_weight, outputs[:, :POSE], pose_counts(targets)
        loss = (1 - share) * pose_loss(pose, targets[:, :POSE], counts) + share * pose_loss(pose, wanted_deg, counts)
        loss = loss + further_loss(outputs, targets)
        if features is not None:
            features, wanted = of_all(features), of_all(wanted)  # pairs of the whole batch
            loss = loss + config.feature_weight * smooth_l1_loss(distances(features), distances(wanted))
        return loss, pose

    return objective


def distances(features: Tensor) -> Tensor:
    """Distances between the features (B, C) of a batch, over their mean: (B * (B - 1) / 2,), 1 in the mean.

    RKD-D of Park et al. 2019 (arXiv:1904.05068), equation 5.
    """
    pairs = torch.pdist(features)
    return pairs / pairs.mean().clamp_min(1e-12)


def backbone_dtype(device: torch.device) -> torch.dtype:
    """What the backbone computes in: bfloat16 on a GPU that has it in hardware, float32 elsewhere.

    Head, loss and optimiser are in float32 everywhere: near 30 degrees the steps of bfloat16 are 0.12 degrees.
    """
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if fast else torch.float32


def _run(images: Tensor, network: Any) -> Tensor:
    """What a network gives, in float32; see `backbone_dtype`. `HeadPoseNet.pose` leaves autocast by itself."""
    dtype = backbone_dtype(images.device)
    with torch.autocast(images.device.type, dtype=dtype, enabled=dtype != torch.float32):
        return network(images).float()

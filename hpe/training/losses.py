"""What training minimises: the labels' error, and what a teacher answers on the same images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from hpe.io.errors import ConfigError
from hpe.model.net import OUTPUT_SCALE_DEG, HeadPoseNet
from hpe.pose.rotation import flip_pose
from hpe.training.config import DistillConfig

Objective = Callable[[Any, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(network, images (B, 3, 64, 64), poses in degrees (B, 3)) -> the loss to minimise, and the poses that it answered."""


def pose_loss(predicted_deg: Tensor, target_deg: Tensor) -> Tensor:
    """Mean absolute error over angles (B, 3), in units of 30 degrees: the paper's MAE loss, scaled."""
    return (predicted_deg - target_deg).abs().mean() / OUTPUT_SCALE_DEG


def supervised(network: Any, images: Tensor, pose_deg: Tensor) -> tuple[Tensor, Tensor]:
    """The labels alone."""
    outputs = _run(images, network)  # (B, 3)
    return pose_loss(outputs, pose_deg), outputs


def distilled(teacher: HeadPoseNet, student: HeadPoseNet, config: DistillConfig) -> Objective:
    """Labels and teacher, mixed by `config`; the teacher is put into evaluation mode on the student's device.

    The student's pooled features are read where `config.feature_weight` is above 0; that takes the plain student, not
    a view of it.
    """
    if config.feature_weight and student.config.head != "gap":
        raise ConfigError("--feature-weight reads pooled features; the paper's head has none. Leave it out.")
    teacher.eval().requires_grad_(False).to(next(student.parameters()).device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def objective(network: Any, images: Tensor, pose_deg: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            wanted = _run(images, teacher.backbone)  # (B, C)
            wanted_deg = teacher.pose(wanted)  # (B, 3)
            if config.teacher_flip_tta:
                wanted_deg = (wanted_deg + flip_pose(_run(images.flip(3), teacher))) / 2
        if config.feature_weight:
            features = _run(images, student.backbone)  # (B, C'), C' may be smaller
            outputs = student.pose(features)
        else:
            features, outputs = None, _run(images, network)
        share = config.teacher_weight
        loss = (1 - share) * pose_loss(outputs, pose_deg) + share * pose_loss(outputs, wanted_deg)
        if features is not None:
            loss = loss + config.feature_weight * smooth_l1_loss(distances(features), distances(wanted))
        return loss, outputs

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

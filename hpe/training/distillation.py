"""Distillation at the price of one pass: a teacher's answers are mixed into the labels before training begins."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from hpe.data.faces import Faces
from hpe.io.progress import progress_bar
from hpe.io.tensors import TensorFileError, read_tensors, write_tensors
from hpe.model.net import HeadPoseNet, predict_all
from hpe.pose.crop import centre_crop
from hpe.pose.rotation import flip_pose
from hpe.training.config import DistillConfig
from hpe.training.start import TAUGHT

BATCH = 256


def relabelled_once(faces: Faces, teacher: HeadPoseNet, config: DistillConfig, run: Path) -> Faces:
    """`relabelled`, or what it gave when this run began with these faces and labels."""
    kept, digest = run / TAUGHT, faces.digest()
    with suppress(TensorFileError, KeyError):
        tensors, texts = read_tensors(kept)
        if texts["faces"] == digest:
            return replace(faces, pose_deg=tensors["pose_deg"].numpy())
    faces = relabelled(faces, teacher, config)
    write_tensors(kept, {"pose_deg": torch.from_numpy(faces.pose_deg)}, {"faces": digest})
    return faces


def relabelled(faces: Faces, teacher: HeadPoseNet, config: DistillConfig) -> Faces:
    """`faces` with labels (1 - share) * label + share * answer, share being `config.teacher_weight`.

    The teacher sees the standard crop, and with `config.teacher_flip_tta` its mirror image too. Augmentation turns the
    mixed label as it turns a label. Rendered faces keep theirs, which are exact. Angles are mixed as numbers: they lie
    within 99 degrees (`hpe.data.faces.MAX_ANGLE_DEG`), so none wraps.
    """
    teacher.eval()
    pose_deg = np.array(faces.pose_deg)
    doubtful = np.flatnonzero([not name.startswith("synthetic:") for name in faces.ids])
    batches = [doubtful[i : i + BATCH] for i in range(0, len(doubtful), BATCH)]
    with progress_bar("asking the teacher", len(batches)) as advance:
        for rows in batches:
            crops = centre_crop(faces.images[rows])
            answer = predict_all(teacher, crops)  # (B, 3)
            if config.teacher_flip_tta:
                answer = (answer + flip_pose(predict_all(teacher, crops[:, :, ::-1]))) / 2
            pose_deg[rows] += config.teacher_weight * (answer - pose_deg[rows])
            advance()
    return replace(faces, pose_deg=pose_deg)

"""The int8 ranges that quantisation-aware training left in a run, in the form that the converter takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hpe.io.files import read_json
from hpe.model.checkpoint import checkpoint_folder
from hpe.training.runs import RANGES

if TYPE_CHECKING:
    from export.convert.tflite import KnownRange

KNOWN_BY = 2
"""Calibration images by whose activations the tensors of the int8 file are recognised."""


def known_ranges(run: Path, crops: np.ndarray) -> list[KnownRange] | None:
    """The ranges of RUN/ranges.json; None where there is none, so that the calibration sets them.

    Args:
        crops: (N, 64, 64, 3) uint8, those that calibrate.
    """
    import torch

    from hpe.model.net import example_input, load_model
    from hpe.model.preprocess import preprocess_torch
    from pruning.quantise.qat import quantisation_aware
    from pruning.quantise.ranges import learnt_activations, set_ranges

    learnt = checkpoint_folder(run) / RANGES  # of a released model, whatever folder has its name here
    if not learnt.is_file():
        return None
    view = quantisation_aware(load_model(run), example_input()).eval()
    set_ranges(view, read_json(learnt))
    return learnt_activations(view, preprocess_torch(torch.from_numpy(crops[:KNOWN_BY])))

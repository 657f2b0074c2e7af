"""`hpe recalibrate`: a run whose outputs were recalibrated on faces that it was not trained on, in a folder of its own.

The error that it reports is cross-validated: each face's pose is corrected by what the other folds say. Faces of one
person stay in one fold where the data tell persons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpe.io.configs import run_id, to_dict
from hpe.io.environment import environment
from hpe.io.errors import ConfigError, require
from hpe.io.files import read_json, write_json
from hpe.io.records import read_record
from hpe.model.lineage import RunOrigin
from hpe.model.outputs import POSE, SPREAD, SPREAD_UNIT, read_outputs
from hpe.model.recalibration import (
    apply_gain_bias,
    at_bound,
    cross_validated,
    fit_gain_bias,
    fit_spread_factors,
    split_folds,
)
from hpe.model.zoo import released_card, resolve_run
from hpe.pose.crop import centre_crop
from hpe.pose.metrics import ANGLES, pose_metrics
from hpe.pose.rotation import flip_pose
from hpe.training.descent import lineage_after
from hpe.training.runs import RANGES

if TYPE_CHECKING:
    from hpe.data.faces import Faces
    from hpe.model.net import HeadPoseNet

FOLDS = 5
KEPT = ("images", "dropped", "params", "nonzeros", "macs", "train_seconds")
"""What the new result.json takes from the parent's."""


@dataclass(frozen=True)
class RecalibrateConfig:
    """Output recalibration: what was asked for, and what came out."""

    pose_balance: float
    """Faces were weighted by the rarity of their angles to this power."""
    gain: list[float]
    """Of yaw, pitch and roll."""
    bias_deg: list[float]
    """Likewise."""
    spread_factor: list[float] | None = None
    """What the spread of each angle was multiplied by; None where the network tells none."""


def run_recalibrate(
    source: Path, data: str, out: Path, pose_balance: float, report: Callable[[str], None] = print
) -> Path:
    """Recalibrate the angles of run `source` by what the faces of SPEC `data` say; the new network is kept in `out`.

    Raises:
        ConfigError: if `out` holds anything but an unfinished recalibration, or `source` is neither a run folder nor a
            released model.
    """
    from hpe.data.faces import load_faces
    from hpe.model.net import load_model, outputs_of, predict_all, save_checkpoint

    require(0 <= pose_balance <= 3, f"--pose-balance is {pose_balance}; it must be 0 (off) to 3")
    if not _is_free(out):
        raise ConfigError(f"--out {out}: exists; give the folder of a new run")
    trained_on, summary = _facts(source)
    network, faces = load_model(source), load_faces(data)
    require(len(faces) >= FOLDS, f"--data {data}: {len(faces)} faces; give {FOLDS} or more")
    config: dict[str, Any] = {"command": "recalibrate", "parent": str(source), "model": to_dict(network.config)}
    config |= {"data": trained_on, "val": data}
    config["lineage"] = to_dict(lineage_after(config))

    true = np.array(faces.pose_deg)  # (N, 3)
    crops = centre_crop(faces.images)
    outputs = outputs_of(network, crops)  # (N, K)
    predicted, mirrored = outputs[:, :POSE], predict_all(network, crops[:, :, ::-1])  # (N, 3)
    weights = _weights(faces, pose_balance)  # (N,)
    both, truth = np.concatenate([predicted, mirrored]), np.concatenate([true, flip_pose(true)])
    gain, bias = fit_gain_bias(both, truth, np.tile(weights, 2))
    persons = _persons(faces, report)
    folds = min(FOLDS, len(np.unique(persons)))
    unseen = cross_validated(predicted, mirrored, true, weights, split_folds(persons, folds))
    answers = {"before": predicted, f"after, cross-validated in {folds} folds": unseen}
    for line in _findings(answers, true, weights, gain, bias):
        report(line)

    apply_gain_bias(network.last_layer, gain, bias / network.output_scale_deg)
    factors = _calibrate_spread(network, outputs, unseen - true, report) if network.config.spread else None
    config["recalibrate"] = to_dict(RecalibrateConfig(pose_balance, gain.tolist(), bias.tolist(), factors))
    write_json(out / "config.json", config)
    save_checkpoint(network, out)
    learnt = resolve_run(source) / RANGES
    if learnt.is_file():  # of quantisation-aware training; the output's own is set from the poses
        write_json(out / RANGES, read_json(learnt))
    summary["val"] = pose_metrics(unseen, true, faces.dropped).to_dict() | {"folds": folds}
    result = {"id": run_id(config), "config": config, **summary, "environment": environment()}
    write_json(out / "result.json", result)
    return out


def _facts(source: Path) -> tuple[str | None, dict[str, Any]]:
    """The training data of a finished run, None of a released model, whose data are not here; what is kept of it."""
    finished, card = resolve_run(source) / "result.json", released_card(source)
    if card is not None:
        return None, {key: card[key] for key in KEPT if key in card}
    if not finished.is_file():
        raise ConfigError(f"{source}: no result.json there; give the folder of a finished run")
    origin = read_record(RunOrigin, finished)
    return origin.config.data, {key: value for key, value in read_json(finished).items() if key in KEPT}


def _calibrate_spread(
    network: HeadPoseNet, outputs: np.ndarray, error_deg: np.ndarray, report: Callable[[str], None]
) -> list[float]:
    """Multiply a network's spreads, in place, by what makes them fit errors (N, 3) on faces that it does not know."""
    import torch

    spread_deg = read_outputs(outputs).spread_deg
    assert spread_deg is not None
    factors = fit_spread_factors(error_deg, spread_deg)
    with torch.no_grad():
        moved = torch.from_numpy(SPREAD_UNIT * np.log(factors) / network.output_scale_deg).float()
        network.last_layer.bias[-SPREAD:] += moved
    report("spread: " + ", ".join(f"{name} x {factor:.2f}" for name, factor in zip(ANGLES, factors, strict=True)))
    return factors.tolist()


def _is_free(out: Path) -> bool:
    """Whether a run may be made in `out`: nothing is there, or what a recalibration left that was killed."""
    if not out.exists():
        return True
    if not out.is_dir() or (out / "result.json").exists():
        return False
    if (out / "config.json").exists():
        config = read_json(out / "config.json")
        return isinstance(config, dict) and config.get("command") == "recalibrate"
    return all(path.name.startswith(".config.") for path in out.iterdir())  # killed while it wrote its first file


def _weights(faces: Faces, pose_balance: float) -> np.ndarray:
    """How much each face counts, (N,)."""
    import torch

    from hpe.data.sampling import pose_weights

    return pose_weights(torch.from_numpy(np.array(faces.pose_deg)), pose_balance).double().numpy()


def _persons(faces: Faces, report: Callable[[str], None]) -> np.ndarray:
    """What must stay in one fold, as names (N,): the person where it is known, else the face alone."""
    persons = faces.extra.get("person", np.full(len(faces), ""))
    named = np.array([person or f"face {i}" for i, person in enumerate(persons)])
    if len(np.unique(named)) > 1:
        return named
    report("warning: all faces are of one person: the error after is not that on persons it does not know")
    return np.arange(len(faces)).astype(str)


def _findings(
    answers: dict[str, np.ndarray], true: np.ndarray, weights: np.ndarray, gain: np.ndarray, bias: np.ndarray
) -> list[str]:
    """What to tell: gains, biases, and the error of each of `answers` (N, 3), plain and by rarity."""
    lines = [f"{name}: gain {a:.3f}, bias {b:+.2f} deg" for name, a, b in zip(ANGLES, gain, bias, strict=True)]
    lines += [
        f"warning: {name}: the search for the gain ended at its bound; look at the data" for name in at_bound(gain)
    ]
    for when, poses in answers.items():
        error = np.abs(poses - true)  # (N, 3)
        by_rarity = (error * weights[:, None]).mean() / weights.mean()
        lines.append(f"{when}: {error.mean():.3f} deg, by rarity {by_rarity:.3f} deg")
    return lines

"""Training: one visible loop that a pruner can hook into, and that resumes to the bit.

The loop knows no pruner. Behind every optimiser step it calls `pruner.step(optimizer)`: a magnitude pruner re-applies
its masks there, a channel pruner may replace parameters by smaller ones and mend the optimiser.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpe.data.faces import Faces
from hpe.data.sampling import epoch_order
from hpe.deploy.evaluate import PoseMetrics, evaluate
from hpe.io.files import write_csv
from hpe.io.progress import progress_bar
from hpe.model.net import HeadPoseNet
from hpe.model.preprocess import AugmentConfig, TrainAugment, preprocess_torch
from hpe.training.config import TrainConfig
from hpe.training.losses import Objective, supervised
from hpe.training.state import Pruner, TrainError, TrainState

LAST = "last.safetensors"
"""The state after the last whole epoch, in the run folder."""


@dataclass(frozen=True)
class FitResult:
    """What a finished training leaves: one history row an epoch, the last validation, seconds of training alone."""

    history: list[dict[str, float]]
    val: PoseMetrics | None
    seconds: float


def choose_device(name: str) -> torch.device:
    """The device of --device; `auto` is CUDA where there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise TrainError(f"--device {name}: not available here ({str(error).splitlines()[0]}); try auto") from None
    return device


def steps_per_epoch(samples: int, batch_size: int) -> int:
    """Whole batches in one pass; the rest is left out of that pass (the order changes every epoch)."""
    if samples < batch_size:
        raise TrainError(f"--batch-size {batch_size} is more than the {samples} training images; give a smaller one")
    return samples // batch_size


@torch.inference_mode()
def predict_all(model: torch.nn.Module, crops: np.ndarray) -> np.ndarray:
    """Poses in degrees (N, 3) of uint8 crops (N, 64, 64, 3), on the model's device."""
    device = next(model.parameters()).device
    images = preprocess_torch(torch.from_numpy(np.ascontiguousarray(crops)).to(device))  # (N, 3, 64, 64)
    return model(images).float().cpu().numpy()


def fit(
    model: HeadPoseNet,
    train: Faces,
    val: Faces | None,
    config: TrainConfig,
    folder: Path,
    pruner: Pruner | None = None,
    augment: AugmentConfig = AugmentConfig(),  # noqa: B008
    objective: Objective = supervised,
    view: torch.nn.Module | None = None,
    resume: bool = False,
    report: Callable[[str], None] = print,
) -> FitResult:
    """Train `model` in place; leaves metrics.csv, TensorBoard events and the state for `resume` in `folder`.

    Everything random in an epoch is drawn from (seed, epoch), so a resumed run equals an unbroken one. The weights left
    in `model` are the averaged ones when `config.ema` is above 0. A `view` computes in the model's place, with its
    parameters (`pruning.quantisation_aware`); it is what training, validation and the history then speak of.
    """
    device = choose_device(config.device)
    model.to(device)
    images = torch.from_numpy(np.asarray(train.images)).to(device)  # (N, 80, 80, 3) uint8, decoded once
    poses = torch.from_numpy(np.asarray(train.pose_deg, dtype=np.float32)).to(device)  # (N, 3) degrees
    state = TrainState(model, pruner, config, steps_per_epoch(len(train), config.batch_size), view)
    if resume and (folder / LAST).exists():
        state.load(folder / LAST)
        report(f"resumed after epoch {state.epoch} of {config.epochs}")
    network: Any = torch.compile(state.network) if config.compile else state.network
    vary = TrainAugment(augment)
    with _tensorboard(folder, state.epoch) as board:
        while state.epoch < config.epochs:
            row: dict[str, float] = {"epoch": state.epoch + 1, "lr": state.lr}
            row |= _epoch(network, state, images, poses, vary, objective)
            state.seconds += row["seconds"]
            metrics = _validate(state, val)
            if metrics is not None:
                row |= {f"val_mae_{name}_deg": value for name, value in metrics.mae_deg.items()}
            state.end_epoch(row, metrics.mean_deg if metrics is not None else row["train_mae_deg"])
            state.save(folder / LAST)
            write_csv(folder / "metrics.csv", state.history)
            for name, value in row.items():
                board.add_scalar(name, value, state.epoch)
            report(_epoch_line(row, config.epochs))
    metrics = _validate(state, val)
    model.load_state_dict(state.weights())
    model.eval()
    return FitResult(state.history, metrics, state.seconds)


def _epoch(
    network: Any, state: TrainState, images: Tensor, poses: Tensor, vary: TrainAugment, objective: Objective
) -> dict[str, float]:
    """One pass: shuffle, augment, forward, backward, step, what follows a step. Returns the mean error and the time."""
    config, device, started = state.config, images.device, time.perf_counter()
    seed = config.seed * 100_003 + state.epoch
    torch.manual_seed(seed)
    generator = torch.Generator(device).manual_seed(seed)
    order = epoch_order(poses, config.balance, torch.Generator().manual_seed(seed)).to(device)
    total = torch.zeros((), device=device)
    network.train()
    with progress_bar(f"epoch {state.epoch + 1}/{config.epochs}", state.steps) as advance:
        for batch in order[: state.steps * config.batch_size].view(state.steps, config.batch_size):
            inputs, targets = vary(images[batch], poses[batch], generator)  # (B, 3, 64, 64), (B, 3)
            loss, outputs = objective(network, inputs, targets)  # (), (B, 3)
            state.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            state.optimizer.step()
            state.after_step()
            total += (outputs.detach() - targets).abs().mean()
            advance()
    mean_deg = total.item() / state.steps
    if not np.isfinite(mean_deg):
        raise TrainError(f"epoch {state.epoch + 1}: the error is {mean_deg}; lower --lr (now {config.lr}) and --resume")
    seconds = time.perf_counter() - started
    speed = state.steps * config.batch_size / seconds
    return {"train_mae_deg": mean_deg, "seconds": seconds, "images_per_s": speed}


def _validate(state: TrainState, val: Faces | None) -> PoseMetrics | None:
    """Evaluate the weights that will be kept, and leave the live ones as they were."""
    if val is None:
        return None
    model = state.model
    live = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(state.weights())
    state.network.eval()
    metrics = evaluate(lambda crops: predict_all(state.network, crops), val)
    model.load_state_dict(live)
    return metrics


def _epoch_line(row: dict[str, float], epochs: int) -> str:
    """The one log line of an epoch."""
    text = f"epoch {int(row['epoch']):>3}/{epochs}  train {row['train_mae_deg']:.2f} deg"
    if "val_mae_mean_deg" in row:
        angles = " ".join(f"{name} {row[f'val_mae_{name}_deg']:.2f}" for name in ("yaw", "pitch", "roll"))
        text += f"  val {row['val_mae_mean_deg']:.2f} deg ({angles})"
    return text + f"  lr {row['lr']:.1e}  {row['images_per_s']:.0f} images/s"


def _tensorboard(folder: Path, epoch: int) -> Any:
    import sys
    from types import ModuleType

    # Unless this name exists, TensorBoard loads TensorFlow where it is installed: eight seconds, and a clash with timm.
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"), purge_step=epoch + 1)

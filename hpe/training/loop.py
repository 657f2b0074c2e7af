"""Training: one visible loop that a pruner can hook into, and that resumes to the bit.

The loop knows no pruner. After every optimiser step it calls `pruner.step(optimizer)`: a magnitude pruner re-applies
its masks there, a channel pruner may replace parameters by smaller ones, here and in the optimiser.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpe.data.faces import Faces
from hpe.data.sampling import epoch_order
from hpe.io.files import write_csv
from hpe.io.progress import progress_bar
from hpe.io.tensors import first_not_finite
from hpe.model.net import OUTPUT_SCALE_DEG, predict_all
from hpe.model.outputs import POSE
from hpe.pose.crop import centre_crop
from hpe.pose.metrics import PoseMetrics, pose_metrics
from hpe.training.augment import AugmentConfig, TrainAugment
from hpe.training.further import further_metrics
from hpe.training.losses import Objective, pose_counts, pose_loss, supervised
from hpe.training.parallel import average, average_gradients, check_alike, share, shared_batch_norm
from hpe.training.start import LAST
from hpe.training.state import TrainError, TrainState


@dataclass(frozen=True)
class Lesson:
    """What is learnt: faces, how they vary, and what is minimised."""

    train: Faces
    """Faces to train on."""
    val: Faces | None = None
    """Faces to watch the error on."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """How the training images vary."""
    objective: Objective = supervised
    """The loss: by the labels, or by labels and teacher."""


@dataclass(frozen=True)
class FitResult:
    """What a finished training leaves: one history row per epoch, the last validation, seconds of training alone."""

    history: list[dict[str, int | float]]
    val: PoseMetrics | None
    seconds: float


@contextmanager
def no_subnormals() -> Iterator[None]:
    """Round numbers below the smallest normal float (1.2e-38) to zero on the CPU.

    Adam's moments of masked weights decay into them and stay there (the smallest one times 0.9 rounds to itself), and
    a processor takes some hundred cycles for each: a fifth of a step at 87.5 % zeros.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


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


def fit(
    state: TrainState,
    lesson: Lesson,
    folder: Path,
    report: Callable[[str], None] = print,
    until: int | None = None,
) -> FitResult:
    """Train the model of `state` in place, on the device where it lies, from the epoch that the state has reached.

    With `until` it stops after that many epochs of the config's; the state in `folder` is what goes on from there.

    Leaves metrics.csv, TensorBoard events and the state for resuming in `folder`. Everything random in an epoch is
    drawn from (seed, epoch), so a resumed run equals an unbroken one. The weights left in the model are the averaged
    ones when `ema` is above 0.
    """
    config, progress = state.config, state.progress
    digest = lesson.train.digest()
    if progress.data not in ("", digest):
        raise TrainError(
            f"{folder}: the training faces or their labels are not those of its first {progress.epoch} epochs; restore "
            "them, or give another --out"
        )
    progress.data = digest
    device = next(state.model.parameters()).device
    images = torch.from_numpy(np.asarray(lesson.train.images)).to(device)  # (N, 80, 80, 3) uint8, decoded once
    poses = torch.from_numpy(np.asarray(lesson.train.pose_deg, dtype=np.float32)).to(device)  # (N, 3) degrees
    network: Any = torch.compile(state.network) if config.compile else state.network
    vary = TrainAugment(lesson.augment, locate=state.model.config.locate)
    share().check(config.batch_size)
    metrics = None
    with _tensorboard(folder, progress.epoch) as board, shared_batch_norm(state.network), no_subnormals():
        while progress.epoch < (config.epochs if until is None else until):
            row: dict[str, int | float] = {"epoch": progress.epoch + 1, "lr": state.lr}
            row |= _epoch(network, state, images, poses, vary, lesson.objective)
            progress.seconds += row["seconds"]
            metrics, further = _validate(state, lesson.val)
            if metrics is not None:
                row |= {f"val_mae_{name}_deg": value for name, value in metrics.mae_deg.items()}
                row |= further
            state.end_epoch(row, metrics.mean_deg if metrics is not None else row["train_mae_deg"])
            state.save(folder / LAST)
            write_csv(folder / "metrics.csv", progress.history)
            for name, value in row.items():
                board.add_scalar(name, value, progress.epoch)
            report(_epoch_line(row, config.epochs))
    if metrics is None:  # a run that was stopped after its last epoch
        write_csv(folder / "metrics.csv", progress.history)
        metrics, _ = _validate(state, lesson.val)
    state.model.load_state_dict(state.weights())
    state.model.eval()
    return FitResult(progress.history, metrics, progress.seconds)


def _epoch(
    network: Any, state: TrainState, images: Tensor, poses: Tensor, vary: TrainAugment, objective: Objective
) -> dict[str, float]:
    """One pass: shuffle, augment, forward, backward, step, what follows a step. Returns the mean error and the time."""
    config, device, started = state.config, images.device, time.perf_counter()
    epoch, steps = state.progress.epoch, state.progress.steps
    seed = config.seed * 100_003 + epoch
    torch.manual_seed(seed)
    generator = torch.Generator(device).manual_seed(seed)
    order = epoch_order(poses, config.pose_balance, torch.Generator().manual_seed(seed)).to(device)
    mine, total = share(), torch.zeros((), device=device)
    network.train()
    with progress_bar(f"epoch {epoch + 1}/{config.epochs}", steps) as advance:
        for batch in order[: steps * config.batch_size].view(steps, config.batch_size):
            own = mine.of(batch)  # all of it, unless several processes train together
            inputs, targets = vary(images[own], poses[own], generator, mine)  # (B, 3, 64, 64), (B, 3 or 8)
            loss, answered = objective(network, inputs, targets)  # (), (B, 3)
            state.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            average_gradients(state.model.parameters())
            state.optimizer.step()
            state.after_step()
            total += OUTPUT_SCALE_DEG * pose_loss(answered.detach(), targets[:, :POSE], pose_counts(targets))
            advance()
    mean_deg = average(total).item() / steps
    check_alike(state.model)
    _check_converging(state, mean_deg)
    seconds = time.perf_counter() - started
    return {"train_mae_deg": mean_deg, "seconds": seconds, "images_per_s": steps * config.batch_size / seconds}


def _check_converging(state: TrainState, mean_deg: float) -> None:
    """Stop a training whose error or weights are no numbers any more; what was saved an epoch ago stays."""
    name = first_not_finite(state.model.state_dict())
    if np.isfinite(mean_deg) and name is None:
        return
    what = f"the error is {mean_deg}" if name is None else f"{name} holds NaN or infinity"
    raise TrainError(
        f"epoch {state.progress.epoch + 1}: training diverged ({what}); start again in another --out with a lower --lr "
        f"(now {state.config.lr})"
    )


def _validate(state: TrainState, val: Faces | None) -> tuple[PoseMetrics | None, dict[str, float]]:
    """Evaluate the weights that will be kept, and leave the live ones as they were.

    Beside the pose, what further outputs there are is measured by columns of its own.
    """
    if val is None:
        return None, {}
    model = state.model
    live = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(state.weights())
    state.network.eval()
    predicted = predict_all(state.network, centre_crop(val.images))
    metrics = pose_metrics(predicted, val.pose_deg, val.dropped, val.skipped)
    further = further_metrics(state.network, val)
    model.load_state_dict(live)
    return metrics, further


def _epoch_line(row: dict[str, int | float], epochs: int) -> str:
    """The one log line of an epoch."""
    text = f"epoch {int(row['epoch']):>3}/{epochs}  train {row['train_mae_deg']:.2f} deg"
    if "val_mae_mean_deg" in row:
        angles = " ".join(f"{name} {row[f'val_mae_{name}_deg']:.2f}" for name in ("yaw", "pitch", "roll"))
        text += f"  val {row['val_mae_mean_deg']:.2f} deg ({angles})"
    if "val_shift_px" in row:
        text += f"  shift {row['val_shift_px']:.1f} px, faces told {row['val_face_accuracy']:.0%}"
    return text + f"  lr {row['lr']:.1e}  {row['images_per_s']:.0f} images/s"


def _tensorboard(folder: Path, epoch: int) -> Any:
    import sys
    from types import ModuleType

    # Unless this name exists, TensorBoard loads TensorFlow where it is installed: eight seconds, and a clash with timm.
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"), purge_step=epoch + 1)

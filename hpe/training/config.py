"""What a run is made of: flat frozen dataclasses, one per stage (those of pruning are in pruning_config). The command
line's flags are made from them.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hpe.io.errors import require
from hpe.training.augment import AugmentConfig

MAX_LR = 10.0
"""No net of this kind trains at a higher rate."""
MAX_SEED = 2**32
"""Seeds lie below; each epoch's is derived from it within 64 bits."""


def refuse_changed(config: Any, names: tuple[str, ...], needs: str) -> None:
    """Refuse settings that differ from their defaults though they would be ignored; `needs` says what they need."""
    defaults = {f.name: f.default for f in dataclasses.fields(config)}
    for name in names:
        require(getattr(config, name) == defaults[name], f"{flag(name)} needs {needs}; leave it out")


def flag(name: str) -> str:
    """The command line's flag of a setting."""
    return "--" + name.replace("_", "-")


@dataclass(frozen=True)
class TrainConfig:
    """The recipe. The defaults are the paper's; `ema` is the one addition (0 turns it off)."""

    epochs: int = 80
    """Passes over the training data."""
    batch_size: int = 128
    """Images a step."""
    lr: float = 1e-3
    """Adam's learning rate at the start (plateau) or at the peak (onecycle)."""
    lr_schedule: Literal["plateau", "onecycle"] = "plateau"
    """plateau: halve when the validation error stalls, as in the paper. onecycle: warm up, then anneal to zero."""
    patience: int = 3
    """plateau: epochs without a better validation error before the rate falls."""
    factor: float = 0.5
    """plateau: what the rate is multiplied by."""
    min_lr: float = 1e-5
    """plateau: the rate falls no lower."""
    ema: float = 0.995
    """Decay a step of the running average of the weights that is evaluated and saved; 0 uses the raw weights."""
    pose_balance: float = 0.0
    """Draw rare poses more often: by the rarity of a face's angles to this power; 0 visits each face once."""
    seed: int = 0
    """Seed of the initial weights, the order and the augmentation."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    compile: bool = False
    """Use torch.compile: about 20 % faster a step on CPU, after some two minutes of compiling."""

    def __post_init__(self) -> None:
        require(self.epochs >= 1, f"--epochs is {self.epochs}; it must be 1 or more")
        require(self.batch_size >= 2, f"--batch-size is {self.batch_size}; batch normalisation needs 2 or more")
        require(0 < self.lr <= MAX_LR, f"--lr is {self.lr}; it must lie above 0 and be at most {MAX_LR:g}")
        require(0 <= self.ema < 1, f"--ema is {self.ema}; it must be 0 (off) or below 1")
        require(0 <= self.pose_balance <= 3, f"--pose-balance is {self.pose_balance}; it must be 0 (off) to 3")
        require(0 <= self.seed < MAX_SEED, f"--seed is {self.seed}; it must be 0 or more and below {MAX_SEED:,}")
        if self.lr_schedule != "plateau":
            refuse_changed(self, ("patience", "factor", "min_lr"), "--lr-schedule plateau")
            return
        require(self.patience >= 0, f"--patience is {self.patience}; it must be 0 or more")
        require(0 < self.factor < 1, f"--factor is {self.factor}; it must lie between 0 and 1")
        require(0 <= self.min_lr <= self.lr, f"--min-lr is {self.min_lr}; it must lie between 0 and --lr ({self.lr})")


@dataclass(frozen=True)
class DistillConfig:
    """Knowledge distillation: the student is also asked to answer as a trained teacher does on the same image."""

    teacher: Path | None = None
    """Run folder of the teacher, or a released model with weights (b0). Left out: the labels alone."""
    teacher_weight: float = 0.5
    """Share of the teacher's poses in the loss; the rest is the labels' (Hinton et al. 2015, arXiv:1503.02531)."""
    teacher_flip_tta: bool = False
    """The teacher answers for the image and its mirror image, and the mean of both is taught: less noise, for one more
    of its forward passes."""
    teacher_offline: bool = False
    """Ask the teacher once about each real face, before training, and mix its answer into the label, instead of at
    every step: a small student trains two to three times as fast."""
    feature_weight: float = 0.0
    """Weight of the distances between the pooled features of a batch, to be as the teacher's (RKD, Park et al. 2019,
    arXiv:1904.05068): widths may differ. 0 leaves it out."""

    def __post_init__(self) -> None:
        require(
            0 <= self.teacher_weight <= 1, f"--teacher-weight is {self.teacher_weight}; it must lie between 0 and 1"
        )
        require(0 <= self.feature_weight < math.inf, f"--feature-weight is {self.feature_weight}; it must be 0 or more")
        if self.teacher is None:
            refuse_changed(
                self, ("teacher_weight", "feature_weight", "teacher_flip_tta", "teacher_offline"), "--teacher RUN"
            )
        require(
            not self.teacher_offline or self.feature_weight == 0,
            "--feature-weight reads the teacher's features at every step; leave --teacher-offline out",
        )


PRUNING_RECIPE = TrainConfig(epochs=20, lr=5e-4, lr_schedule="onecycle")
"""How `hpe prune` trains by default: annealed, so that recovery after the last cut has a rate to recover with."""

FINETUNING_RECIPE = TrainConfig(epochs=5, lr=2e-4)
"""How `hpe finetune` trains by default."""

MAX_CLUSTERS = 256
"""As many values as int8 has."""


@dataclass(frozen=True)
class FinetuneConfig:
    """What `hpe finetune` does to a finished run beside training on; zeros stay zero and widths stay."""

    qat: bool = False
    """Quantisation-aware training: compute with the rounding of the int8 file, so that the weights learn it."""
    clusters: int = 0
    """Weight clustering: each layer's weights share N values (16 packs to 4 bits), depthwise kernels apart; 0 leaves
    them free."""
    simplify: bool = False
    """Start from the network's simpler form: squeeze-excitation becomes constant factors in the weights, SiLU becomes
    ReLU6, and the padding is what --simplify-for wants."""
    simplify_for: Literal["mcu", "pi"] = "mcu"
    """mcu: TensorFlow's padding, so that nothing is padded by an operator of its own. pi: symmetric padding, without
    which XNNPACK's sparse kernels do not run (`hpe prune --zeros-for pi`)."""
    locate: bool = False
    """Add outputs that locate the face in the crop and tell whether there is one; train with --no-face then."""
    spread: bool = False
    """Add outputs that tell the error to be expected of each angle."""
    rewind_to: Path | None = None
    """Lottery-ticket rewinding: start from the weights of this run (say, trained for one epoch), masked as RUN is."""

    def __post_init__(self) -> None:
        require(
            self.clusters == 0 or 2 <= self.clusters <= MAX_CLUSTERS,
            f"--clusters is {self.clusters}; it must be 2 to {MAX_CLUSTERS} (as many values as int8 has), or 0",
        )
        if not self.simplify:
            refuse_changed(self, ("simplify_for",), "--simplify")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, whatever else happens to it meanwhile."""

    data: str
    """What to train on: csv:DIR, aflw2000:DIR, 300w-lp:DIR, biwi:DIR or synthetic:PRESET:COUNT[:SEED], an optional
    @split after a folder, several joined by +."""
    val: str | None = None
    """Data to watch the error on; never trained on."""
    skip_bad: bool = False
    """Leave out samples that cannot be read instead of refusing to start."""
    train: TrainConfig = field(default_factory=TrainConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)

"""What a run is made of: flat frozen dataclasses, one a stage. The command line's flags are made from them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

C = TypeVar("C")


class ConfigError(ValueError):
    """A setting that cannot be used; the message names the flag and what it may be."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True)
class ModelConfig:
    """The network: a timm EfficientNet-B0 for 64x64 faces and a head of three angles."""

    head: Literal["gap", "paper"] = "gap"
    """gap: global average pool, one dense layer. paper: flatten, dense 1024, dense 256, as in the TENCON 2022 study."""
    act: Literal["silu", "relu6", "hard_swish"] = "silu"
    """Activation. silu as in the paper; relu6 loses least in int8 and is fastest on a microcontroller."""
    se: bool = True
    """Squeeze-and-excitation blocks; without them the int8 graph is half as long."""
    padding: Literal["symmetric", "same"] = "symmetric"
    """same: TensorFlow's padding, which saves the PAD operators in TFLite."""
    pretrained: bool = False
    """Start from timm's ImageNet weights (downloaded on first use)."""


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
    seed: int = 0
    """Seed of the initial weights, the order and the augmentation."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    compile: bool = False
    """Use torch.compile: about 20 % faster a step on CPU, after some two minutes of compiling."""

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, f"--epochs is {self.epochs}; it must be 1 or more")
        _require(self.batch_size >= 2, f"--batch-size is {self.batch_size}; batch normalisation needs 2 or more")
        _require(self.lr > 0, f"--lr is {self.lr}; it must be above 0")
        _require(self.patience >= 0, f"--patience is {self.patience}; it must be 0 or more")
        _require(0 < self.factor < 1, f"--factor is {self.factor}; it must lie between 0 and 1")
        _require(0 <= self.min_lr <= self.lr, f"--min-lr is {self.min_lr}; it must lie between 0 and --lr ({self.lr})")
        _require(0 <= self.ema < 1, f"--ema is {self.ema}; it must be 0 (off) or below 1")


@dataclass(frozen=True)
class PruneConfig:
    """What is removed, and when. Epochs count from the start of this pruning run."""

    method: Literal["magnitude", "channel"]
    """magnitude: zero the smallest weights, keep the shapes. channel: remove whole channels (DepGraph)."""
    schedule: Literal["constant", "polynomial"] = "polynomial"
    """constant: the final sparsity from the first pruning step on. polynomial: rising, power 3 (Zhu & Gupta 2017)."""
    initial_sparsity: float = 0.0
    """polynomial: the sparsity at the first pruning step."""
    final_sparsity: float = 0.5
    """The share of weights (magnitude) or of channels (channel) that is gone at the end."""
    begin_epoch: int = 0
    """First epoch in which pruning happens."""
    end_epoch: int | None = None
    """Pruning ends with this epoch's start; the rest is fine-tuning. Left out: two thirds of --epochs."""
    frequency: int = 100
    """Steps between two pruning steps."""
    scope: Literal["layer", "global"] = "layer"
    """Rank weights or channels within each layer, or over the whole net."""
    target_params: int | None = None
    """channel: prune until the net has at most so many parameters, whatever --final-sparsity says."""
    target_macs: int | None = None
    """channel: prune until an image costs at most so many multiply-accumulates."""
    target_int8_bytes: int | None = None
    """channel: prune until the int8 file is estimated at no more than so many bytes."""

    def __post_init__(self) -> None:
        for name in ("initial_sparsity", "final_sparsity"):
            value = getattr(self, name)
            _require(0 <= value < 1, f"--{name.replace('_', '-')} is {value}; it must be 0 or more and below 1")
        if self.schedule == "polynomial":
            _require(
                self.initial_sparsity <= self.final_sparsity,
                f"--initial-sparsity ({self.initial_sparsity}) is above --final-sparsity ({self.final_sparsity})",
            )
        _require(self.begin_epoch >= 0, f"--begin-epoch is {self.begin_epoch}; it must be 0 or more")
        if self.end_epoch is not None:
            _require(
                self.end_epoch > self.begin_epoch,
                f"--end-epoch ({self.end_epoch}) must lie behind --begin-epoch ({self.begin_epoch})",
            )
        _require(self.frequency >= 1, f"--frequency is {self.frequency}; it must be 1 or more")
        targets = [name for name in ("params", "macs", "int8_bytes") if getattr(self, f"target_{name}") is not None]
        if targets:
            flag = "--target-" + targets[0].replace("_", "-")
            _require(self.method == "channel", f"{flag} needs --method channel: masks do not make the net smaller")
            _require(len(targets) == 1, "give one target only: --target-params, --target-macs or --target-int8-bytes")
            _require(getattr(self, f"target_{targets[0]}") > 0, f"{flag} must be above 0")


def to_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as plain JSON values."""
    return dataclasses.asdict(config)


def from_dict(kind: type[C], values: dict[str, Any]) -> C:
    """The reverse of `to_dict`; an unknown or missing key raises ConfigError."""
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    _require(
        not unknown, f"{kind.__name__}: unknown setting {', '.join(unknown)}; known are {', '.join(sorted(known))}"
    )
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{kind.__name__}: {error}") from None


def run_id(*configs: Any) -> str:
    """Ten hex digits that name a run: the SHA-256 of its configs, key order aside."""
    text = json.dumps([to_dict(c) if dataclasses.is_dataclass(c) else c for c in configs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]

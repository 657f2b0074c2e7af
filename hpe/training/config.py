"""What a run is made of: flat frozen dataclasses, one a stage. The command line's flags are made from them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from hpe.model.preprocess import AugmentConfig

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
    width: float = 1.0
    """All channels times this, rounded to multiples of 8 as EfficientNet does (stem aside): the small net that is
    trained from scratch, against which pruning has to show itself."""
    pretrained: bool = False
    """Start from timm's ImageNet weights (downloaded on first use)."""

    def __post_init__(self) -> None:
        _require(0 < self.width <= 4, f"--width is {self.width}; it must lie above 0 and be at most 4")
        _require(self.width == 1 or not self.pretrained, "--pretrained: there are no ImageNet weights for --width")


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
    balance: float = 0.0
    """Draw rare poses more often: by the rarity of a face's angles to this power; 0 visits each face once."""
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
        _require(0 <= self.balance <= 3, f"--balance is {self.balance}; it must be 0 (off) to 3")


@dataclass(frozen=True)
class DistillConfig:
    """Knowledge distillation: the student is also asked to answer as a trained teacher does on the same image."""

    teacher: Path | None = None
    """Run folder of the teacher, or a shipped model that can be trained (b0). Left out: the labels alone."""
    teacher_weight: float = 0.5
    """Share of the teacher's poses in the loss; the rest is the labels' (Hinton et al. 2015, arXiv:1503.02531)."""
    teacher_flip: bool = False
    """The teacher answers for the image and its mirror image, and the mean of both is taught: less noise, for one more
    of its forward passes."""
    teacher_once: bool = False
    """Ask the teacher once about each real face, before training, and mix its answer into the label, instead of at
    every step: a small student trains two to three times as fast."""
    feature_weight: float = 0.0
    """Weight of the distances between the pooled features of a batch, to be as the teacher's (RKD, Park et al. 2019,
    arXiv:1904.05068): widths may differ. 0 leaves it out."""

    def __post_init__(self) -> None:
        _require(
            0 <= self.teacher_weight <= 1, f"--teacher-weight is {self.teacher_weight}; it must lie between 0 and 1"
        )
        _require(self.feature_weight >= 0, f"--feature-weight is {self.feature_weight}; it must be 0 or more")
        _require(self.teacher is not None or self.feature_weight == 0, "--feature-weight needs --teacher RUN")
        _require(self.teacher is not None or not self.teacher_flip, "--teacher-flip needs --teacher RUN")
        _require(self.teacher is not None or not self.teacher_once, "--teacher-once needs --teacher RUN")
        _require(
            not self.teacher_once or self.feature_weight == 0,
            "--feature-weight reads the teacher's features at every step; leave --teacher-once out",
        )


@dataclass(frozen=True)
class MaskConfig:
    """Which weights `--method magnitude` masks."""

    scope: Literal["layer", "global", "erk", "2:4", "1x4"] = "layer"
    """Rank weights within each layer or over the whole net; erk: layer by layer, sparser where it is larger (Evci et
    al. 2020); 2:4 and 1x4: two of four, or blocks of four along the inputs."""
    score: Literal["magnitude", "movement", "random"] = "magnitude"
    """What goes first: small weights, weights that move towards zero (Sanh et al. 2020), or any (a control)."""
    include: tuple[str, ...] = ("*",)
    """Modules whose weights may go, by name or pattern: head, backbone, backbone.blocks.6."""
    exclude: tuple[str, ...] = ()
    """Modules that stay whole, likewise."""
    depthwise: bool = False
    """Also mask depthwise kernels, which the study (and TF-MOT) leaves alone."""


@dataclass(frozen=True)
class ChannelConfig:
    """Which channels `--method channel` removes."""

    importance: Literal[
        "magnitude", "l1", "taylor", "bn_scale", "fpgm", "lamp", "attention", "sensitivity", "random"
    ] = "magnitude"
    """How channels are scored. sensitivity: what shutting one does to the angles, for what it costs of the target; for
    --ranking global. random: a control."""
    ranking: Literal["local", "global", "isomorphic"] = "local"
    """Compare channels within a group of coupled layers, over the whole net, or among groups built alike."""
    round_to: int = 1
    """Pruned widths are multiples of this."""
    min_channels: int = 4
    """No layer gets narrower than this."""
    ignored: tuple[str, ...] = ()
    """Modules whose channels stay, by name or pattern."""
    grow: bool = False
    """Fade the channels out by a growing penalty and cut them at the end of the schedule (Wang et al. 2021)."""

    def __post_init__(self) -> None:
        _require(self.round_to >= 1, f"--round-to is {self.round_to}; it must be 1 or more")
        _require(self.min_channels >= 1, f"--min-channels is {self.min_channels}; it must be 1 or more")


TARGETS = ("params", "macs", "int8_bytes")


@dataclass(frozen=True)
class PruneConfig:
    """What is removed, and when. Epochs count from the start of this pruning run."""

    method: Literal["magnitude", "channel", "block"]
    """magnitude: zero the least weights, keep the shapes. channel: remove whole channels (DepGraph). block: drop whole
    residual blocks, at the start."""
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
    target_params: int | None = None
    """channel: prune until the net has at most so many parameters, whatever --final-sparsity says."""
    target_macs: int | None = None
    """channel: prune until an image costs at most so many multiply-accumulates."""
    target_int8_bytes: int | None = None
    """channel: prune until the int8 file is estimated at no more than so many bytes."""
    target_board: str | None = None
    """channel: prune until the int8 file and the multiply-accumulates suit this board (nano33ble, rp2040, ...)."""
    blocks: int = 1
    """block: drop so many residual blocks, those that add least to their input."""
    masks: MaskConfig = field(default_factory=MaskConfig)
    channels: ChannelConfig = field(default_factory=ChannelConfig)

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
        _require(self.blocks >= 1, f"--blocks is {self.blocks}; it must be 1 or more")
        self._check_targets()
        self._check_method("magnitude", self.masks, MaskConfig())
        self._check_method("channel", self.channels, ChannelConfig())

    def _check_targets(self) -> None:
        targets = [name for name in (*TARGETS, "board") if getattr(self, f"target_{name}") is not None]
        if targets:
            flag = "--target-" + targets[0].replace("_", "-")
            _require(self.method == "channel", f"{flag} needs --method channel: masks do not make the net smaller")
            _require(
                len(targets) == 1,
                "give one target only: --target-params, --target-macs, --target-int8-bytes or --target-board",
            )
            _require(
                targets[0] == "board" or getattr(self, f"target_{targets[0]}") > 0,
                f"{flag} is {getattr(self, f'target_{targets[0]}')}; it must be above 0",
            )

    def _check_method(self, method: str, given: Any, default: Any) -> None:
        """A flag of the other family would be silently ignored."""
        changed = [f.name for f in dataclasses.fields(given) if getattr(given, f.name) != getattr(default, f.name)]
        if changed:
            _require(self.method == method, f"--{changed[0].replace('_', '-')} needs --method {method}")


@dataclass(frozen=True)
class FinetuneConfig:
    """What `hpe finetune` does to a finished run beside training on; zeros stay zero and widths stay."""

    qat: bool = False
    """Quantisation-aware training: compute with the rounding of the int8 file, so that the weights learn to bear it."""
    clusters: int = 0
    """Weight clustering: each layer's weights share so many values (16 packs to 4 bits); 0 leaves them free."""
    simplify: bool = False
    """Start from the network's form for microcontrollers: squeeze-excitation becomes constant factors in the weights,
    SiLU becomes ReLU6, padding TensorFlow's (so that nothing is padded by an operator of its own)."""
    rewind_to: Path | None = None
    """Lottery-ticket rewinding: start from the weights of this run (say, trained for one epoch), masked as RUN is."""

    def __post_init__(self) -> None:
        _require(self.clusters == 0 or self.clusters >= 2, f"--clusters is {self.clusters}; it must be 2 or more, or 0")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, whatever else happens to it meanwhile."""

    data: str
    """What to train on: csv:DIR, aflw2000:DIR, 300w-lp:DIR, biwi:DIR or synthetic:PRESET:COUNT[:SEED], an optional
    @split behind a folder, several joined by +."""
    val: str | None = None
    """Data to watch the error on; never trained on."""
    skip_bad: bool = False
    """Leave out samples that cannot be read instead of refusing to start."""
    train: TrainConfig = field(default_factory=TrainConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)


def to_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as plain JSON values: nested ones as dicts, tuples as lists, paths as text."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


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

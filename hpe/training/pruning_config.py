"""What `hpe prune` takes away, and when: flat frozen dataclasses, of which the command line's flags are made."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hpe.io.errors import require
from hpe.training.config import flag, refuse_changed


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
    zeros_for: Literal["pi", "mcu"] | None = None
    """Mask only what makes the network faster there: 1x1 convolutions, each by at least the share of zeros from which
    it gains. pi: XNNPACK's sparse kernels (0.67, better 0.8 to 0.9), for `hpe export --formats sparse`; refused where
    the network's form keeps it from them. mcu: those of `hpe compile` (0.55, 0.66 on maps of 2x2)."""

    def __post_init__(self) -> None:
        if self.zeros_for is not None:
            require(not self.depthwise, "--depthwise: no engine skips their zeros; leave it out with --zeros-for")
            require(self.scope != "2:4", "--scope 2:4 reaches 0.5, where no engine gains; take another --scope")


@dataclass(frozen=True)
class ChannelConfig:
    """Which channels `--method channel` removes."""

    importance: Literal["magnitude", "l1", "taylor", "bn_scale", "fpgm", "lamp", "sensitivity", "hessian", "random"] = (
        "magnitude"
    )
    """How channels are scored. sensitivity: what shutting one does to the angles, for what it costs of the target;
    hessian: what taking away its weights does to them (Optimal Brain Damage, LeCun et al. 1990); both for --ranking
    global or knapsack. random: a control."""
    ranking: Literal["local", "global", "isomorphic", "knapsack"] | None = None
    """Compare channels within a group of coupled layers, over the whole net, or among groups built alike; knapsack: the
    widths that lose least within a target. Left out: knapsack for --target-cycles and --target-ms, else local."""
    round_to: int | None = None
    """Pruned widths are multiples of this. Left out: 4 for a microcontroller (--target-cycles, --target-board), 8 for a
    Raspberry Pi or --target-ms, whose kernels take as many at a time; else 1."""
    min_channels: int = 4
    """No layer gets narrower than this."""
    ignored: tuple[str, ...] = ()
    """Modules whose channels stay, by name or pattern."""
    reconstruct: bool = False
    """After each cut, fit each 1x1 layer by least squares to what it gave before, on 256 faces without labels (Optimal
    Brain Surgeon, Hassibi & Stork 1993): seconds a cut, and so much less to recover; best with few, large cuts."""
    grow: bool = False
    """Fade the channels out by a growing penalty and cut them at the end of the schedule (Wang et al. 2021)."""

    def __post_init__(self) -> None:
        require(self.round_to is None or self.round_to >= 1, f"--round-to is {self.round_to}; it must be 1 or more")
        require(self.min_channels >= 1, f"--min-channels is {self.min_channels}; it must be 1 or more")


TARGETS = ("params", "macs", "int8_bytes", "cycles", "ms")


@dataclass(frozen=True)
class PruneConfig:
    """What is removed, and when. Epochs count from the start of this pruning run."""

    method: Literal["magnitude", "channel", "block", "hybrid"]
    """magnitude: zero the least weights, keep the shapes. channel: remove whole channels (DepGraph). block: drop whole
    residual blocks, at the start. hybrid: channels to a target in the first half of the schedule, then masks on what
    stays, to --final-sparsity."""
    schedule: Literal["constant", "polynomial"] = "polynomial"
    """constant: the final sparsity from the first pruning step on. polynomial: from the initial to the final one, fast
    at first, power 3 (Zhu & Gupta 2017)."""
    initial_sparsity: float = 0.0
    """polynomial: the sparsity at the first pruning step. magnitude: it may lie above the final one, as in the paper:
    weights come back then."""
    final_sparsity: float = 0.5
    """The share of weights (magnitude) or of channels (channel) that is gone at the end."""
    begin_epoch: int = 0
    """First epoch in which pruning happens."""
    end_epoch: int | None = None
    """Pruning ends with this epoch's start; the rest is fine-tuning. Left out: two thirds of --epochs."""
    frequency: int | None = None
    """Steps between two pruning steps. Left out: 100, or fewer where that leaves less than 20 pruning steps."""
    target_params: int | None = None
    """channel: prune until the net has at most N parameters, whatever --final-sparsity says. Of several targets none is
    exceeded."""
    target_macs: int | None = None
    """channel: prune until an image costs at most N multiply-accumulates."""
    target_int8_bytes: int | None = None
    """channel: prune until the int8 file is estimated at no more than N bytes."""
    target_cycles: int | None = None
    """channel: prune until the C of `hpe compile` is estimated at no more than N cycles of a Cortex-M4."""
    target_ms: float | None = None
    """channel: prune until the int8 file is estimated to take at most X milliseconds by --latency-table."""
    latency_table: Path | None = None
    """--target-ms: what layers take, as `hpe bench --layers --out TABLE.json` measured it on the machine meant."""
    target_board: str | None = None
    """channel: prune until the int8 file and the multiply-accumulates suit this board (nano33ble, rp2040, ...)."""
    blocks: int = 1
    """block: drop N residual blocks, those that add least to their input."""
    masks: MaskConfig = field(default_factory=MaskConfig)
    channels: ChannelConfig = field(default_factory=ChannelConfig)

    def __post_init__(self) -> None:
        for name in ("initial_sparsity", "final_sparsity"):
            value = getattr(self, name)
            require(0 <= value < 1, f"{flag(name)} is {value}; it must be 0 or more and below 1")
        require(self.begin_epoch >= 0, f"--begin-epoch is {self.begin_epoch}; it must be 0 or more")
        if self.end_epoch is not None:
            require(
                self.end_epoch > self.begin_epoch,
                f"--end-epoch ({self.end_epoch}) must come after --begin-epoch ({self.begin_epoch})",
            )
        if self.frequency is not None:
            require(self.frequency >= 1, f"--frequency is {self.frequency}; it must be 1 or more")
        require(self.blocks >= 1, f"--blocks is {self.blocks}; it must be 1 or more")
        self._check_targets()
        if self.method == "hybrid":
            self._check_hybrid()
        else:
            self._check_method("magnitude", self.masks, MaskConfig())
            self._check_method("channel", self.channels, ChannelConfig())
        self._check_schedule()

    def _check_hybrid(self) -> None:
        """The channels need a budget; what would make no sense of two stages is refused."""
        require(self.has_target, "--method hybrid needs a target for its channels, as --target-cycles N")
        require(not self.channels.grow, "--grow needs --method channel")
        refuse_changed(self, ("initial_sparsity",), "--method magnitude or channel: hybrid starts dense")

    def _check_schedule(self) -> None:
        """What the method, the schedule or a target would ignore; and what they cannot do."""
        when = ("schedule", "initial_sparsity", "final_sparsity", "begin_epoch", "end_epoch", "frequency")
        if self.method == "block":
            refuse_changed(self, when, "--method magnitude or channel: blocks are dropped at the start")
            return
        refuse_changed(self, ("blocks",), "--method block")
        if self.channels.grow:
            at_once = ("schedule", "initial_sparsity", "frequency")
            refuse_changed(self, at_once, "pruning in steps: --grow removes all channels at --end-epoch")
            require(not self.channels.reconstruct, "--reconstruct needs cuts; --grow has faded out what goes")
        if self.schedule == "constant":
            refuse_changed(self, ("initial_sparsity",), "--schedule polynomial")
        elif self.method == "channel":
            require(
                self.has_target or self.initial_sparsity <= self.final_sparsity,
                f"--initial-sparsity ({self.initial_sparsity}) is above --final-sparsity ({self.final_sparsity}): "
                "channels that were removed do not come back; a falling schedule needs --method magnitude",
            )
        if self.has_target and self.method != "hybrid":
            refuse_changed(self, ("final_sparsity",), "a run without a target: the target says how much goes")
        n_of_m = re.fullmatch(r"(\d+):(\d+)", self.masks.scope)
        if n_of_m:
            most, asked = 1 - int(n_of_m[1]) / int(n_of_m[2]), max(self.initial_sparsity, self.final_sparsity)
            require(asked <= most, f"--scope {self.masks.scope} reaches at most {most:g}, but {asked:g} is asked")

    @property
    def falls(self) -> bool:
        """Whether weights come back on the schedule."""
        return self.schedule == "polynomial" and self.initial_sparsity > self.final_sparsity and not self.has_target

    @property
    def has_target(self) -> bool:
        """Whether a target says how much goes."""
        return any(getattr(self, f"target_{name}") is not None for name in (*TARGETS, "board"))

    def _check_targets(self) -> None:
        targets = [name for name in (*TARGETS, "board") if getattr(self, f"target_{name}") is not None]
        require(
            (self.target_ms is None) == (self.latency_table is None),
            "--target-ms and --latency-table go together: make a table with hpe bench --layers --out TABLE.json",
        )
        require(self.channels.ranking != "knapsack" or bool(targets), "--ranking knapsack needs a target")
        if not targets:
            return
        needs_channels = "needs --method channel: masks do not make the net smaller"
        require(self.method in ("channel", "hybrid"), f"{flag('target_' + targets[0])} {needs_channels}")
        if "board" in targets:
            require(len(targets) == 1, "--target-board has limits of its own; give no other target beside it")
        require(not {"cycles", "ms"} <= set(targets), "give --target-cycles or --target-ms, not both")
        for name in targets:
            value = getattr(self, f"target_{name}")
            require(name == "board" or value > 0, f"{flag('target_' + name)} is {value}; it must be above 0")

    def _check_method(self, method: str, given: Any, default: Any) -> None:
        """A flag of the other family would be silently ignored."""
        changed = [f.name for f in dataclasses.fields(given) if getattr(given, f.name) != getattr(default, f.name)]
        if changed:
            require(self.method == method, f"{flag(changed[0])} needs --method {method}")

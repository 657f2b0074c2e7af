"""All that changes while training (weights, optimiser, average, pruner, rate, history), and how it is kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from hpe.io.configs import from_dict, to_dict
from hpe.io.errors import ConfigError, HpeError
from hpe.io.tensors import TensorFileError, read_tensors, write_tensors
from hpe.model.net import HeadPoseNet
from hpe.training.averages import WeightAverage
from hpe.training.config import TrainConfig
from hpe.training.schedules import Plateau, one_cycle
from pruning.channels.pruner import apply_widths, widths

MOMENTS = {"step", "exp_avg", "exp_avg_sq"}
"""What Adam keeps for each parameter."""


class TrainError(HpeError, RuntimeError):
    """Training that cannot start, go on or converge; the message names the flag or file and the remedy."""


class Pruner(Protocol):
    """What training asks of a pruner: a step after each optimiser step, and a state for resuming."""

    def step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Count one optimiser step; True where the network was changed."""
        ...

    def state_dict(self) -> dict[str, Tensor | int | float]: ...
    def load_state_dict(self, state: dict[str, Tensor | int | float]) -> None: ...


@dataclass
class Progress:
    """The plain numbers of a training: how far it is, and what it has seen."""

    steps: int
    """Optimiser steps in an epoch."""
    plateau: Plateau
    """The learning rate now, and what the plateau schedule remembers."""
    epoch: int = 0
    """Whole epochs so far."""
    step_count: int = 0
    """Optimiser steps so far."""
    seconds: float = 0.0
    """Time spent in training alone."""
    average_updates: int = 0
    """Steps that the running average has taken in."""
    history: list[dict[str, int | float]] = field(default_factory=list)
    """One row per epoch."""
    data: str = ""
    """`Faces.digest` of the training data; empty in states that did not note it."""


@dataclass
class Header:
    """The texts and numbers in the header of a checkpoint."""

    progress: Progress
    """As it was when the epoch ended."""
    widths: dict[str, list[int]]
    """The width of every layer that pruning may change."""
    pruner: dict[str, Any]
    """What the pruner keeps beside tensors."""


class TrainState:
    """What one training holds between two steps; `save` and `load` keep it in one file, without pickle.

    A `view` computes in the model's place, with its parameters (`pruning.quantisation_aware`). The model must lie on
    the device that it is trained on.
    """

    def __init__(
        self,
        model: HeadPoseNet,
        pruner: Pruner | None,
        config: TrainConfig,
        steps: int,
        view: torch.nn.Module | None = None,
    ) -> None:
        self.model, self.pruner, self.config = model, pruner, config
        self.network: torch.nn.Module = model if view is None else view  # what computes
        self.optimizer = self._new_optimizer()
        self.average = WeightAverage(model, config.ema) if config.ema else None
        self.progress = Progress(steps, Plateau(config.lr))
        self._set_rate()

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self.progress.plateau.lr

    def _new_optimizer(self) -> torch.optim.Optimizer:
        fused = next(self.model.parameters()).device.type in ("cpu", "cuda")
        return torch.optim.Adam(self.model.parameters(), lr=self.config.lr, fused=fused)

    def _ranges(self) -> dict[str, Tensor]:
        """The ranges of activations that a quantisation-aware view has seen, which are in no state of the model."""
        return {name: buffer for name, buffer in self.network.named_buffers() if name.endswith(".range")}

    def _set_rate(self) -> None:
        progress, config = self.progress, self.config
        if config.lr_schedule == "onecycle":
            progress.plateau.lr = one_cycle(progress.step_count, config.lr, config.epochs * progress.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr

    def after_step(self) -> None:
        """What follows each optimiser step: the pruner, the running average, the next learning rate."""
        self.progress.step_count += 1
        if self.pruner is not None and self.pruner.step(self.optimizer):
            self.progress.plateau.forget()
            if self.average is not None:
                self.average.restart(self.model)
        if self.average is not None:
            self.average.update()
        self._set_rate()

    def weights(self) -> dict[str, Tensor]:
        """A copy of the state dict to evaluate and to keep: the averaged one where there is an average."""
        state = self.average.state(self.model) if self.average is not None else self.model.state_dict()
        return {name: tensor.detach().clone() for name, tensor in state.items()}

    def end_epoch(self, row: dict[str, int | float], error_deg: float) -> None:
        """Count the epoch; on the plateau schedule lower the rate when the error has stalled."""
        self.progress.epoch += 1
        self.progress.history.append(row)
        if self.config.lr_schedule == "plateau":
            self.progress.plateau.look(error_deg, self.config.patience, self.config.factor, self.config.min_lr)
        self._set_rate()

    def save(self, path: Path) -> None:
        """Write one safetensors file: all tensors, and the plain numbers as JSON in its header."""
        pruner = self.pruner.state_dict() if self.pruner is not None else {}
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for index, entries in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value for key, value in entries.items()}
        tensors |= {f"range.{name}": tensor for name, tensor in self._ranges().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
            self.progress.average_updates = self.average.updates
        tensors |= {f"pruner.{name}": value for name, value in pruner.items() if isinstance(value, Tensor)}
        plain = {name: value for name, value in pruner.items() if not isinstance(value, Tensor)}
        header = Header(self.progress, widths(self.model), plain)
        write_tensors(path, tensors, {"state": json.dumps(to_dict(header))})

    def load(self, path: Path, unpruned: bool = False) -> None:
        """The reverse of `save`, onto a model as it was before training.

        `unpruned` says that the state is of the same training without a pruner: this one has done nothing so far.

        Raises:
            TrainError: if the file is damaged, or of another training.
        """
        try:
            tensors, texts = read_tensors(path)
            header = from_dict(Header, json.loads(texts["state"]))
            if unpruned:
                tensors = self._with_idle_pruner(header, tensors)
            if header.progress.steps == self.progress.steps:
                self._restore(header, tensors)
        except (TensorFileError, ConfigError, KeyError, ValueError, RuntimeError, AttributeError, TypeError) as error:
            reason = str(error).removeprefix(f"{path}: ").splitlines()[0]
            raise TrainError(f"{path}: damaged ({reason}); delete it, and --resume starts again") from None
        if header.progress.steps != self.progress.steps:
            raise TrainError(
                f"{path}: an epoch had {header.progress.steps} steps, and has {self.progress.steps} now: the training "
                "data have changed; restore them, or give another --out"
            )

    def _with_idle_pruner(self, header: Header, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The state of a training without a pruner as one whose pruner has counted the steps and done nothing."""
        kept = self.pruner.state_dict() if self.pruner is not None else {}
        plain = {name: value for name, value in kept.items() if not isinstance(value, Tensor)}
        counters = [name for name in plain if name.rpartition(".")[2] == "step"]  # a hybrid's parts count by themselves
        header.pruner = plain | dict.fromkeys(counters, header.progress.step_count)
        return tensors | {f"pruner.{name}": value for name, value in kept.items() if isinstance(value, Tensor)}

    def check_epochs(self) -> None:
        """Refuse fewer epochs than were trained already."""
        if self.progress.epoch > self.config.epochs:
            raise TrainError(
                f"--epochs {self.config.epochs}: {self.progress.epoch} epochs are done already; give as many or more"
            )

    def _restore(self, header: Header, tensors: dict[str, Tensor]) -> None:
        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        device = next(self.model.parameters()).device
        apply_widths(self.model, header.widths)
        self.model.load_state_dict(part("model."))
        self.model.to(device)
        self.optimizer = self._new_optimizer()
        parameters = dict(enumerate(self.model.parameters()))
        entries: dict[int, dict[str, Tensor]] = {}
        for name, value in part("optimizer.").items():
            index, key = name.split(".", 1)
            entries.setdefault(int(index), {})[key] = _laid_out_like(parameters[int(index)], value)
        if any(entry.keys() != MOMENTS for entry in entries.values()):
            raise ValueError("some of the optimiser's moments are missing")
        self.optimizer.load_state_dict({"state": entries, "param_groups": self.optimizer.state_dict()["param_groups"]})
        if self.pruner is not None:
            self.pruner.load_state_dict({**header.pruner, **part("pruner.")})
        if self.average is not None:
            self.average.follow(self.model)
            self.average.load_state_dict(part("average."), header.progress.average_updates)
        ranges = part("range.")
        for name, tensor in self._ranges().items():
            tensor.copy_(ranges[name])
        self.progress = header.progress
        self._set_rate()


def _laid_out_like(parameter: Tensor, value: Tensor) -> Tensor:
    """`value` in the memory layout of `parameter`: the fused Adam reads both as they lie, whatever the strides."""
    if value.dim() == 0:  # the count of steps
        return value
    if value.shape != parameter.shape:
        raise ValueError(
            f"the optimiser's moments {list(value.shape)} are not of the parameter {list(parameter.shape)}"
        )
    return torch.empty_like(parameter).copy_(value).detach()

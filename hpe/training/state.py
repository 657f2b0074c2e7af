"""All that changes while training (weights, optimiser, average, pruner, rate, history), and how it is kept."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from hpe.io.files import write_whole
from hpe.model.net import HeadPoseNet
from hpe.training.config import TrainConfig, to_dict
from pruning.channels.pruner import apply_widths, widths

KEPT = ("epoch", "step_count", "seconds", "stalled", "lr", "history")
"""The plain numbers of TrainState that a checkpoint holds as they are."""


class TrainError(RuntimeError):
    """Training that cannot start, go on or converge; the message names the flag or file and the remedy."""


class Pruner(Protocol):
    """What training asks of a pruner: a step behind each optimiser step, and a state for resuming."""

    def step(self, optimizer: torch.optim.Optimizer) -> Any: ...
    def state_dict(self) -> dict[str, Tensor | int | float]: ...
    def load_state_dict(self, state: dict[str, Tensor | int | float]) -> None: ...


class WeightAverage:
    """Exponential moving average of all parameters and statistics; young averages forget faster (as in timm).

    A weight that is exactly zero in the live model is zero in the average too, so a mask holds for both. Where a layer
    changed shape (channels were removed), its average starts anew.
    """

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.average = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        self.updates += 1
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        old, new = [], []
        for name, tensor in model.state_dict().items():
            if self.average[name].shape != tensor.shape or not tensor.is_floating_point():
                self.average[name] = tensor.detach().clone()
            else:
                old.append(self.average[name])
                new.append(tensor.detach())
        if old:
            torch._foreach_lerp_(old, new, weight)  # pyright: ignore[reportPrivateImportUsage]

    def state(self, model: torch.nn.Module) -> dict[str, Tensor]:
        """The averaged state dict, with zeros wherever the live weight is exactly zero."""
        live = model.state_dict()
        return {name: torch.where(live[name] == 0, live[name], average) for name, average in self.average.items()}


def one_cycle(step: int, peak: float, steps: int, warm_up: float = 0.15) -> float:
    """Learning rate of Smith's 1cycle policy: linear up to `peak` over `warm_up` of the steps, then cosine to zero."""
    rising = max(1.0, warm_up * steps)
    if step < rising:
        return peak * (0.04 + 0.96 * step / rising)
    progress = min(1.0, (step - rising) / max(1.0, steps - rising))
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


class TrainState:
    """What one training holds between two steps; `save` and `load` keep it in one file, without pickle."""

    def __init__(
        self,
        model: HeadPoseNet,
        pruner: Pruner | None,
        config: TrainConfig,
        steps: int,
        view: torch.nn.Module | None = None,
    ) -> None:
        self.model, self.pruner, self.config, self.steps = model, pruner, config, steps
        self.network: torch.nn.Module = model if view is None else view  # what computes
        self.optimizer = self._new_optimizer()
        self.average = WeightAverage(model, config.ema) if config.ema else None
        self.epoch, self.step_count, self.seconds = 0, 0, 0.0
        self.best, self.stalled = math.inf, 0
        self.history: list[dict[str, float]] = []
        self.lr = config.lr
        self._update_rate()

    def _new_optimizer(self) -> torch.optim.Optimizer:
        fused = next(self.model.parameters()).device.type in ("cpu", "cuda")
        return torch.optim.Adam(self.model.parameters(), lr=self.config.lr, fused=fused)

    def _ranges(self) -> dict[str, Tensor]:
        """The ranges of activations that a quantisation-aware view has seen, which are in no state of the model."""
        return {name: buffer for name, buffer in self.network.named_buffers() if name.endswith(".range")}

    def _update_rate(self) -> None:
        if self.config.lr_schedule == "onecycle":
            self.lr = one_cycle(self.step_count, self.config.lr, self.config.epochs * self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr

    def after_step(self) -> None:
        """What follows each optimiser step: the pruner, the running average, the next learning rate."""
        self.step_count += 1
        if self.pruner is not None:
            self.pruner.step(self.optimizer)
        if self.average is not None:
            self.average.update(self.model)
        self._update_rate()

    def weights(self) -> dict[str, Tensor]:
        """A copy of the state dict to evaluate and to keep: the averaged one where there is an average."""
        state = self.average.state(self.model) if self.average is not None else self.model.state_dict()
        return {name: tensor.detach().clone() for name, tensor in state.items()}

    def end_epoch(self, row: dict[str, float], error_deg: float) -> None:
        """Count the epoch; on the plateau schedule lower the rate when the error has stalled (ReduceLROnPlateau)."""
        self.epoch += 1
        self.history.append(row)
        if error_deg < self.best * (1 - 1e-4):
            self.best, self.stalled = error_deg, 0
        else:
            self.stalled += 1
        if self.config.lr_schedule == "plateau" and self.stalled > self.config.patience:
            self.lr, self.stalled = max(self.lr * self.config.factor, self.config.min_lr), 0
        self._update_rate()

    def save(self, path: Path) -> None:
        """Write one safetensors file: all tensors, and the plain numbers as JSON in its header."""
        from safetensors.torch import save_file

        pruner = self.pruner.state_dict() if self.pruner is not None else {}
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for index, entries in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value for key, value in entries.items()}
        tensors |= {f"range.{name}": tensor for name, tensor in self._ranges().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.average.items()}
        tensors |= {f"pruner.{name}": value for name, value in pruner.items() if isinstance(value, Tensor)}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        numbers = {name: getattr(self, name) for name in KEPT} | {
            "best": None if math.isinf(self.best) else self.best,
            "average_updates": self.average.updates if self.average is not None else 0,
            "pruner": {name: value for name, value in pruner.items() if not isinstance(value, Tensor)},
            "widths": widths(self.model),
            "config": to_dict(self.config),
        }
        write_whole(path, lambda temporary: save_file(tensors, temporary, {"state": json.dumps(numbers)}))

    def load(self, path: Path) -> None:
        """The reverse of `save`, onto a model as it was before training; settings that change the result must agree."""
        numbers, tensors = _read(path)
        self._check_settings(path, numbers["config"])

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        device = next(self.model.parameters()).device
        apply_widths(self.model, numbers["widths"])
        self.model.load_state_dict(part("model."))
        self.model.to(device)
        self.optimizer = self._new_optimizer()
        parameters = list(self.model.parameters())
        entries: dict[int, dict[str, Tensor]] = {}
        for name, value in part("optimizer.").items():
            index, key = name.split(".", 1)
            entries.setdefault(int(index), {})[key] = _laid_out_like(parameters[int(index)], value)
        self.optimizer.load_state_dict({"state": entries, "param_groups": self.optimizer.state_dict()["param_groups"]})
        if self.pruner is not None:
            self.pruner.load_state_dict({**numbers["pruner"], **part("pruner.")})
        if self.average is not None:
            average, live = part("average."), self.model.state_dict()
            self.average.average = {name: _laid_out_like(live[name], tensor) for name, tensor in average.items()}
            self.average.updates = numbers["average_updates"]
        for name, tensor in part("range.").items():
            self._ranges()[name].copy_(tensor)
        for name in KEPT:
            setattr(self, name, numbers[name])
        self.best = math.inf if numbers["best"] is None else numbers["best"]
        self._update_rate()

    def _check_settings(self, path: Path, saved: dict[str, Any]) -> None:
        free = {"device", "compile"} | ({"epochs"} if self.config.lr_schedule == "plateau" else set())
        now = to_dict(self.config)
        changed = sorted(name for name in now if name not in free and now[name] != saved.get(name))
        if changed:
            flags = ", ".join(f"--{name.replace('_', '-')} (was {saved.get(name)})" for name in changed)
            raise TrainError(f"{path}: --resume with other settings: {flags}; give the old ones or another --out")


def _laid_out_like(parameter: Tensor, value: Tensor) -> Tensor:
    """`value` in the memory layout of `parameter`: the fused Adam reads both as they lie, whatever the strides."""
    return torch.empty_like(parameter).copy_(value).detach() if value.shape == parameter.shape else value


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The numbers and tensors of a checkpoint."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            numbers = json.loads(file.metadata()["state"])
            return numbers, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TrainError(f"{path}: damaged ({error}); delete it and train without --resume") from None

"""What quantisation-aware training learnt beside the weights: the range of every activation, to keep and to export."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from pruning.errors import PruningError
from pruning.modes import evaluating
from pruning.quantise.qat import FakeQuantise, QuantisedLayer, SameGrid, round_sigmoid

Activation = tuple[np.ndarray, float, float]
"""Float32 (N, ...) values for N images, and the lowest and highest value that int8 is to hold."""


def learnt_ranges(view: nn.Module) -> dict[str, list[float]]:
    """Name -> [lowest, highest] of each activation of a quantisation-aware view that has seen data; plain JSON."""
    ranges = {name: module.range.tolist() for name, module in _roundings(view).items()}
    if any(value != value for limits in ranges.values() for value in limits):
        raise PruningError("The view has seen no data yet: train it before its ranges are kept or exported.")
    return ranges


def set_ranges(view: nn.Module, ranges: Mapping[str, Sequence[float]]) -> None:
    """Give a new view of the same model the ranges that `learnt_ranges` took.

    Raises:
        PruningError: if they are of another network.
    """
    roundings = _roundings(view)
    if roundings.keys() != ranges.keys():
        name = sorted(roundings.keys() ^ ranges.keys())[0]
        raise PruningError(f"These ranges are of another network: the activation {name!r} is in only one of the two.")
    for name, limits in ranges.items():
        roundings[name].range.copy_(torch.tensor(limits))


@torch.no_grad()
def learnt_activations(view: nn.Module, images: Tensor) -> list[Activation]:
    """The ranges, each with what the float network has there for some images, by which a file's tensor is recognised.

    Args:
        view: trained, as `quantisation_aware` made it.
        images: (N, C, H, W), one or two are enough: the first ones that the export calibrates with.
    """
    learnt_ranges(view)  # refuses what has seen no data
    assert isinstance(view, fx.GraphModule)
    run = _FloatRun(view)
    with evaluating(view):
        run.run(images.to(next(view.parameters()).device).float())
    return run.found


class _FloatRun(fx.Interpreter):
    """Computes a view without any rounding, and notes what comes to each of its roundings."""

    def __init__(self, view: fx.GraphModule):
        super().__init__(view)
        self.found: list[Activation] = []

    def call_module(self, target: Any, args: tuple, kwargs: dict) -> Any:
        module = self.fetch_attr(target)
        if isinstance(module, QuantisedLayer):
            return module.compute(args[0], rounded=False)
        if isinstance(module, SameGrid):
            return args[0]
        if isinstance(module, FakeQuantise):
            low, high = module.range.tolist()
            self.found.append((args[0].cpu().numpy(), low, high))
            return args[0]
        return super().call_module(target, args, kwargs)

    def call_function(self, target: Any, args: tuple, kwargs: dict) -> Any:
        return args[0] if target is round_sigmoid else super().call_function(target, args, kwargs)


def _roundings(view: nn.Module) -> dict[str, FakeQuantise]:
    return {name: module for name, module in view.named_modules() if isinstance(module, FakeQuantise)}

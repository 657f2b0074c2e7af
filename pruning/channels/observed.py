"""Scores of channels by what they do to the output of the net, as some images show it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pruning.channels.costs import Price
from pruning.channels.graph import trace
from pruning.channels.groups import ChannelGroup, Slot, is_plain_depthwise
from pruning.channels.surgery import Widths, out_dims, widths
from pruning.layout import by_output
from pruning.modes import evaluating
from pruning.second_order import diagonal_hessian, obd_scores, one_output

NORM = nn.modules.batchnorm._BatchNorm
SEEN = (nn.modules.conv._ConvNd, nn.Linear, NORM)


class _Observed(ABC):
    """What was measured on images, again whenever the model was pruned or trained since.

    Args:
        model: the model that will be pruned.
        images: (B, C, H, W) representative inputs; some tens are enough.
    """

    def __init__(self, model: nn.Module, images: Tensor):
        self.model = model
        self.images = images
        self._state: object = None
        self._scores: dict[str, Tensor] = {}

    def scores(self) -> dict[str, Tensor]:
        """What `measure` found."""
        state = _contents(self.model)
        if state != self._state:
            self._scores = self.measure()
            self._state = state
        return self._scores

    @abstractmethod
    def measure(self) -> dict[str, Tensor]:
        """Layer or parameter name -> what the images show of each of its channels or weights."""


class SensitivityImportance(_Observed):
    """How far the output moves when the channel is shut, for what that saves: squared change over cost.

    The change is linearised, as in Taylor pruning with gates on batch-norm outputs (Molchanov et al. 2019,
    arXiv:1906.10771), but of the output instead of a loss, so that it needs no labels and does not vanish in a trained
    net: activation times gradient of a random combination of the outputs, squared and averaged over images. The cost of
    a channel is what removing one saves at the present widths, as a share of each limit, as budgets of latency are
    shared out in HALP (Shen et al. 2021, arXiv:2110.10811). Not normalised over the group: rank globally.

    Args:
        model, images: as above.
        limits: the target, by field of `Cost` (params, macs, int8_bytes, latency); without one every channel costs 1,
            as the ranking "knapsack", which weighs by costs itself, wants it.
        price: what a layer takes, where a limit is of latency.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        limits: Mapping[str, int] | None = None,
        price: Price | None = None,
    ):
        super().__init__(model, images)
        self.limits = dict(limits or {})
        self.price = price

    def __call__(self, group: ChannelGroup) -> Tensor:
        """(size,) scores of a group: squared units of the output, over the share of the target."""
        measured = self.scores()
        norms, outs = _norms(self.model, group)
        slots = [slot for slot in norms if not _feeds_depthwise(self.model, slot.layer, outs)] or outs[:1]
        change = torch.stack([_by_unit(group, slot, measured) for slot in slots]).sum(0)  # (B, size)
        return change.square().mean(0) / self._costs[group.name]

    def measure(self) -> dict[str, Tensor]:
        """A forward and a backward pass: layer name -> (B, channels) changes of the output. Counts the costs, too."""
        device = next(self.model.parameters()).device
        found: dict[str, list[Tensor]] = {}
        generator = torch.Generator().manual_seed(0)
        for batch in self.images.split(64):
            with torch.enable_grad(), _watched(self.model) as outputs:
                answer = one_output(self.model(batch.to(device).requires_grad_()))
            direction = torch.randn(answer.shape, generator=generator).to(answer)
            gradients = torch.autograd.grad(answer, [output for _, output in outputs], direction, allow_unused=True)
            changes: dict[str, Tensor] = {}
            for (name, output), gradient in zip(outputs, gradients, strict=True):
                if gradient is not None:
                    change = _channels_second(self.model, name, output.detach() * gradient)
                    change = change.flatten(2).sum(2) if change.dim() > 2 else change
                    changes[name] = changes[name] + change if name in changes else change
            for name, change in changes.items():
                found.setdefault(name, []).append(change)
        self._costs = self._count()
        return {name: torch.cat(changes) for name, changes in found.items()}

    def _count(self) -> dict[str, float]:
        """Group name -> the cost of one of its channels."""
        graph = trace(self.model, self.images[:1], price=self.price)
        whole, costs = graph.cost(), {}
        for i, group in enumerate(graph.groups):
            less = graph.cost([int(j == i) for j in range(len(graph.groups))])
            saved = [(getattr(whole, name) - getattr(less, name)) / limit for name, limit in self.limits.items()]
            costs[group.name] = max(sum(saved), 1e-9) if saved else 1.0
        return costs


class HessianImportance(_Observed):
    """What taking the channel's weights away does to the output: Optimal Brain Damage, summed over all that go with it.

    The diagonal of the Hessian is that of `diagonal_hessian`, which needs no labels; a pass per image, so some seconds
    for some hundred. Not normalised over the group: rank globally.
    """

    def __call__(self, group: ChannelGroup) -> Tensor:
        """(size,) scores of a group: squared units of the output."""
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        modules, measured, total = dict(self.model.named_modules()), self.scores(), torch.zeros(group.size)
        for slot in group.slots:
            for parameter, dim in out_dims(self.model, slot.layer):
                scores = measured[names[parameter]]
                if slot.axis == "out":
                    layer = modules.get(slot.layer)  # None: a bare parameter
                    is_weight = layer is not None and scores.dim() > 1
                    rows = by_output(layer, scores) if is_weight else scores.movedim(dim, 0)
                    sums = rows.flatten(1).sum(1) if rows.dim() > 1 else rows
                elif scores.dim() > 1:
                    sums = self._by_input(slot.layer, scores, dim)
                else:
                    continue  # a bias goes with outputs
                total.index_add_(0, slot.root, sums.cpu().float()[slot.index])
        return total

    def _by_input(self, layer: str, scores: Tensor, dim: int) -> Tensor:
        """Scores of a layer's weight, outputs along `dim`, -> (inputs,): of a grouped convolution group after group."""
        groups = getattr(self.model.get_submodule(layer), "groups", 1)
        outs, ins = scores.movedim(dim, 0).shape[:2]
        if dim:  # a transposed convolution has all inputs, and the outputs of a group
            return scores.movedim(dim, 0).reshape(outs, ins, -1).sum((0, 2))
        return scores.reshape(groups, outs // groups, ins, -1).sum((1, 3)).flatten()

    def measure(self) -> dict[str, Tensor]:
        """Parameter name -> h * w^2 / 2 of each weight."""
        return obd_scores(dict(self.model.named_parameters()), diagonal_hessian(self.model, self.images))


def _contents(model: nn.Module) -> tuple[Widths, list[float]]:
    """What tells a model from what it was: widths and sums. torch counts no version where a fused optimiser steps."""
    sums = [tensor.float().sum() for tensor in model.state_dict().values()]
    return widths(model), torch.stack(sums).tolist()


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[tuple[str, Tensor]]]:
    """Evaluation mode, and a list that takes the layer's name and output at each call of a layer."""
    handles, outputs = [], []
    for name, module in model.named_modules():
        if isinstance(module, SEEN):

            def call(_: nn.Module, __: tuple, output: Tensor, name: str = name) -> Tensor:
                outputs.append((name, output))
                return output.clone()  # what is added in place to it would change what was seen

            handles.append(module.register_forward_hook(call))
    try:
        with evaluating(model):
            yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _norms(model: nn.Module, group: ChannelGroup) -> tuple[list[Slot], list[Slot]]:
    """The batch-norms among the layers that put out a group's channels one by one, and all of these layers."""
    layers = {name for name, module in model.named_modules() if isinstance(module, SEEN)}
    outs = [
        slot
        for slot in group.slots
        if slot.axis == "out" and group.per_unit(slot) == group.channels_each and slot.layer in layers
    ]
    return [slot for slot in outs if isinstance(model.get_submodule(slot.layer), NORM)], outs


def _by_unit(group: ChannelGroup, slot: Slot, measured: Mapping[str, Tensor]) -> Tensor:
    """(..., channels) measured of a layer -> (..., size), summed over the channels of each unit."""
    values = measured[slot.layer]
    zeros = torch.zeros(*values.shape[:-1], group.size, dtype=values.dtype, device=values.device)
    return zeros.index_add_(-1, slot.root.to(values.device), values[..., slot.index.to(values.device)])


def _channels_second(model: nn.Module, layer: str, output: Tensor) -> Tensor:
    """(B, C, ...) whatever the layer's output: the channels of a dense layer come last."""
    return output.movedim(-1, 1) if isinstance(model.get_submodule(layer), nn.Linear) else output


def _feeds_depthwise(model: nn.Module, norm: str, outs: Sequence[Slot]) -> bool:
    """Whether a depthwise layer of the same group comes next: the channel is then judged after it, once."""
    layers = {slot.layer for slot in outs}
    order = [name for name, _ in model.named_modules() if name in layers]
    after = order[order.index(norm) + 1 :]
    return bool(after) and is_plain_depthwise(model.get_submodule(after[0]))

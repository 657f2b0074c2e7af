"""Which channels belong together, and what each costs: Torch-Pruning's dependency graph, read once into plain data.

DepGraph: Fang et al. 2023, arXiv:2301.12900. It answers what else must go when an output channel of a layer goes; the
choice of channels (allocation.py) and the surgery (surgery.py) are done here, so that counts are exact and predictable.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from pruning.channels.costs import Cost, Layer, Price, count_layers, fixed_cost, is_layer_norm
from pruning.errors import PruningError
from pruning.weights.masks import name_matches

UNFOLLOWED = (ZeroDivisionError, IndexError)
"""What Torch-Pruning raises on models that it cannot follow (ShuffleNet-V2, CSPResNet)."""


@dataclass(frozen=True)
class Slot:
    """Positions on one axis of one layer that go with the channels of a group."""

    layer: str
    """Name of a convolution, dense or batch-norm module."""
    axis: str
    """"out" or "in"; depthwise and batch-norm layers have "out" alone."""
    index: Tensor
    """(m,) positions on that axis; m is a multiple of the group's size (a flattened map has several a channel)."""
    root: Tensor
    """(m,) the group's channel that each position belongs to."""


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can only be removed together, over all layers that carry them."""

    name: str
    """The layer that the group is named by."""
    size: int
    """Number of channels."""
    slots: list[Slot]
    depgraph_group: Any
    """Torch-Pruning's own group, for its importance scores."""

    def per_channel(self, slot: Slot) -> int:
        """How many positions of a slot go with one channel."""
        return len(slot.index) // self.size


@dataclass(frozen=True)
class ChannelGraph:
    """All that is needed to choose channels and to predict what remains."""

    groups: list[ChannelGroup]
    left_out: dict[str, str]
    """Layers whose output channels stay, with the reason."""
    layers: dict[str, Layer]
    fixed: Cost
    """What costs the same whatever is removed."""
    output_shapes: list[torch.Size] = field(default_factory=list)
    price: Price | None = None
    """What a layer takes, for limits of latency."""

    def cost(self, removed: Sequence[int] | None = None) -> Cost:
        """What stays once `removed[i]` channels of `groups[i]` are gone; exact but for the bytes, an estimate."""
        widths = {name: {"out": layer.out, "in": layer.inputs} for name, layer in self.layers.items()}
        for group, count in zip(self.groups, removed or [0] * len(self.groups), strict=True):
            for slot in group.slots:
                widths[slot.layer][slot.axis] -= group.per_channel(slot) * count
        total, latency = self.fixed, 0.0
        for name, layer in self.layers.items():
            out, inputs = widths[name]["out"], widths[name]["in"]
            total = total + layer.cost(out, inputs)
            latency += self.price(name, layer, out, inputs) if self.price is not None else 0
        return replace(total, latency=round(latency))


def trace(
    model: nn.Module, example_input: Tensor, ignored: Sequence[str | nn.Module] = (), price: Price | None = None
) -> ChannelGraph:
    """Find the groups of channels of a model.

    Args:
        model: any model that DepGraph can follow; left as it was, frozen parameters and training mode included.
        example_input: (B, C, H, W) or whatever the model takes, on any device.
        ignored: modules, or patterns of module names, whose output channels must stay. Layers that make the model's
            output are always left alone.
        price: what a layer takes, where costs are to have a latency.

    Raises:
        PruningError: if a pattern matches nothing.
    """
    import torch_pruning as tp

    example_input = example_input.to(next(model.parameters()).device)
    kept_layers = _matching(model, ignored)
    names = {module: name for name, module in model.named_modules()}
    outputs: list[Tensor] = []

    def remember_outputs(out: Any) -> Any:
        outputs.extend(tp.utils.flatten_as_list(out))
        return out

    with _traceable(model):
        try:
            depgraph = tp.DependencyGraph().build_dependency(
                model, (example_input,), output_transform=remember_outputs, verbose=False
            )
        except UNFOLLOWED as error:
            reason = f"{type(error).__name__}: {error}"
            raise PruningError(
                f"Torch-Pruning cannot follow this model ({reason}); mask its weights instead."
            ) from error
        layers = count_layers(model, example_input)
        fixed = fixed_cost(model, layers, outputs)
    output_fns = {tensor.grad_fn for tensor in outputs}
    groups: list[ChannelGroup] = []
    left_out: dict[str, str] = {}
    claimed: set[tuple[str, str, int]] = set()
    for root, tp_group in _depgraph_groups(depgraph):
        if tp_group is None:
            left_out[names[root]] = "Torch-Pruning cannot follow its channels"
            claimed |= {(names[root], "out", i) for i in range(layers[names[root]].out if names[root] in layers else 0)}
            continue
        slots, reason = _slots(depgraph, tp_group, names, output_fns, kept_layers)
        group = ChannelGroup(names[root], len(tp_group[0].idxs), slots, tp_group)
        positions = {(s.layer, s.axis, i) for s in slots for i in s.index.tolist()}
        if not reason and (positions & claimed or not all(_is_even(group, slot) for slot in slots)):
            reason = "its channels are shared with another group in a way that is not supported"
        if reason:
            left_out[group.name] = reason
        else:
            claimed |= positions
            groups.append(group)
    return ChannelGraph(groups, left_out, layers, fixed, [tensor.shape for tensor in outputs], price)


def _depgraph_groups(depgraph: Any) -> Iterator[tuple[nn.Module, Any]]:
    """Each group once, with the layer that it was found from; None in place of one that cannot be followed.

    As DepGraph's get_all_groups, which one such group ends.
    """
    visited: set[nn.Module] = set()
    for module in list(depgraph.module2node):
        if not isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)) or module in visited:
            continue
        pruner = depgraph.get_pruner_of_module(module)
        if pruner is None or not (channels := pruner.get_out_channels(module)):
            continue
        try:
            group = depgraph.get_pruning_group(module, pruner.prune_out_channels, list(range(channels)))
        except UNFOLLOWED:
            yield module, None
            continue
        visited |= {
            item.dep.target.module for item in group.items if depgraph.is_out_channel_pruning_fn(item.dep.handler)
        }
        yield module, group


def traced_cost(model: nn.Module, example_input: Tensor) -> tuple[Cost, dict[str, Layer]]:
    """The cost of a model and its layers, without looking for groups; the model is left as it was."""
    import torch_pruning as tp

    example_input = example_input.to(next(model.parameters()).device)
    with _traceable(model):
        layers = count_layers(model, example_input)
        total = fixed_cost(model, layers, tp.utils.flatten_as_list(model(example_input)))
    for layer in layers.values():
        total = total + layer.cost(layer.out, layer.inputs)
    return total, layers


def _slots(depgraph: Any, tp_group: Any, names: dict[Any, str], output_fns: set, kept: set) -> tuple[list[Slot], str]:
    """The slots of one group, and the reason to leave it out ("" where there is none)."""
    slots = []
    for item in tp_group.items:
        node, module = item.dep.target, item.dep.target.module
        is_output = depgraph.is_out_channel_pruning_fn(item.dep.handler)
        if is_output and (node.grad_fn in output_fns or not node.outputs):
            return [], "it makes the model's output"
        if is_output and module in kept:
            return [], "ignored by request"
        if isinstance(module, nn.Parameter):
            return [], "a bare nn.Parameter depends on its channels"
        if module not in names:
            continue  # an operation without weights: addition, concatenation, reshape
        if isinstance(module, nn.modules.conv._ConvNd) and module.groups > 1 and not is_plain_depthwise(module):
            return [], f"{names[module]} is a grouped convolution"
        one_axis = isinstance(module, nn.modules.batchnorm._BatchNorm) or is_layer_norm(module)
        if not one_axis and not isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            if next(module.parameters(recurse=False), None) is None:
                continue
            return [], f"{names[module]} is a {type(module).__name__}, which is not supported"
        if any(root is None for root in item.root_idxs):
            return [], "its channels could not be followed"
        axis = "out" if one_axis or is_plain_depthwise(module) or is_output else "in"
        slots.append(Slot(names[module], axis, torch.tensor(item.idxs), torch.tensor(item.root_idxs)))
    return slots, ""


def is_plain_depthwise(module: nn.Module) -> bool:
    """Whether a layer is a convolution with one kernel a channel, which keeps the number of channels."""
    is_conv = isinstance(module, nn.modules.conv._ConvNd)
    return is_conv and module.groups == module.in_channels == module.out_channels > 1


def _is_even(group: ChannelGroup, slot: Slot) -> bool:
    counts = torch.bincount(slot.root, minlength=group.size)
    return len(counts) == group.size and bool((counts == counts[0]).all()) and len(slot.index) > 0


def _matching(model: nn.Module, ignored: Sequence[str | nn.Module]) -> set[nn.Module]:
    found: set[nn.Module] = set()
    for entry in ignored:
        if isinstance(entry, str):
            matches = {module for name, module in model.named_modules() if name_matches(name, entry)}
            if not matches:
                raise PruningError(f"The pattern {entry!r} matches no module; see model.named_modules() for the names.")
            found |= matches
        else:
            found |= set(entry.modules())
    return found


@contextmanager
def _traceable(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and gradients everywhere: DepGraph follows gradients, so that it would miss frozen layers."""
    modes = {module: module.training for module in model.modules()}
    flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        with torch.enable_grad():
            model.eval().requires_grad_(True)
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)

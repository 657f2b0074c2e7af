"""Which channels belong together, and what each costs: Torch-Pruning's dependency graph, read once into plain data.

DepGraph: Fang et al. 2023, arXiv:2301.12900. It answers what else must go when an output channel of a layer goes; the
choice of channels (allocation.py) and the surgery (surgery.py) are done here, so that counts are exact and predictable;
and what it says is tried on a copy (trial.py) before it is believed.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from pruning.channels.costs import Cost, Layer, Price, Run, fixed_cost, run_once, used_parameters
from pruning.channels.following import Follower
from pruning.channels.fusing import UNSUPPORTED
from pruning.channels.groups import UNFOLLOWED, ChannelGroup
from pruning.channels.trial import sound_groups
from pruning.errors import PruningError
from pruning.layout import MAKE_PLAIN
from pruning.modes import all_gradients, evaluating
from pruning.weights.masks import name_matches


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
        """What stays once `removed[i]` units of `groups[i]` are gone; exact but for the bytes, an estimate."""
        widths = {name: {"out": layer.out, "in": layer.inputs} for name, layer in self.layers.items()}
        for group, count in zip(self.groups, removed or [0] * len(self.groups), strict=True):
            for slot in group.slots:
                widths[slot.layer][slot.axis] -= group.per_unit(slot) * count
        total, latency = self.fixed, 0.0
        for name, layer in self.layers.items():
            out, inputs = widths[name]["out"], widths[name]["in"]
            total = total + layer.cost(out, inputs)
            latency += self.time(name, out, inputs)
        return replace(total, latency=round(latency))

    def time(self, name: str, out: int, inputs: int) -> float:
        """What a layer takes with these numbers of channels; 0 without a price, and of a bare parameter."""
        layer = self.layers[name]
        if layer.groups == layer.inputs > 1:  # depthwise: each channel reads its own, and both go together
            inputs = out * layer.inputs // layer.out
        return 0.0 if self.price is None or layer.kind == "parameter" else self.price(name, layer, out, inputs)


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
    outputs: list[Tensor] = []

    def remember_outputs(out: Any) -> Any:
        outputs.extend(tp.utils.flatten_as_list(out))
        return out

    with evaluating(model), all_gradients(model):  # DepGraph follows gradients, and would miss frozen layers
        try:
            with warnings.catch_warnings():  # it would go on, and fill the memory
                warnings.filterwarnings("error", message="Maximum recursive depth")
                depgraph = tp.DependencyGraph().build_dependency(
                    model, (example_input,), output_transform=remember_outputs, verbose=False
                )
        except (*UNFOLLOWED, UserWarning) as error:
            reason = f"{type(error).__name__}: {error}"
            raise PruningError(
                f"Torch-Pruning cannot follow this model ({reason}); mask its weights instead."
            ) from error
        run = run_once(model, example_input)
        fixed = fixed_cost(model, run, outputs)
        follower = Follower(model, depgraph, {tensor.grad_fn for tensor in outputs}, kept_layers)
        groups, left_out = _disjoint(follower, uncuttable(model))
        sound = sound_groups(model, example_input, groups, run.layers)
    left_out |= {g.name: "cutting it changes what the rest of the model does" for g in groups if g not in sound}
    left_out |= dict.fromkeys(run.attention_macs, UNSUPPORTED)
    return ChannelGraph(sound, left_out, run.layers, fixed, [tensor.shape for tensor in outputs], price)


def uncuttable(model: nn.Module) -> dict[str, str]:
    """Layers whose weights cannot be replaced by narrower ones, with the reason."""
    owners: dict[nn.Parameter, list[str]] = {}
    for name, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(parameter, []).append(name)
    reasons = {}
    for names in owners.values():
        first, *others = names
        if others:
            reasons |= {first: f"its weight is shared with {others[0]}"}
            reasons |= dict.fromkeys(others, f"its weight is shared with {first}")
    for name, module in model.named_modules():
        held = {*module._parameters, *module._buffers}
        made = [key for key in ("weight", "bias") if key not in held and torch.is_tensor(getattr(module, key, None))]
        if made:
            reasons[name] = f"its {made[0]} is made of other parameters; {MAKE_PLAIN}"
    return reasons


def _disjoint(follower: Follower, refused: Mapping[str, str]) -> tuple[list[ChannelGroup], dict[str, str]]:
    """The groups that can be cut, no position in two of them; and the layers left out, with the reason."""
    groups: list[ChannelGroup] = []
    left_out: dict[str, str] = {}
    claimed: set[tuple[str, str, int]] = set()
    for name, group, reason in follower.groups():
        positions = (
            {(s.layer, s.axis, i) for s in group.slots for i in s.index.tolist()} if group is not None else set()
        )
        if group is not None and not reason:
            reason = next((refused[slot.layer] for slot in group.slots if slot.layer in refused), "")
        if group is None or reason or positions & claimed:
            left_out[name] = reason or "its channels are shared with another group in a way that is not supported"
        else:
            claimed |= positions
            groups.append(group)
    return groups, left_out


def traced_cost(model: nn.Module, example_input: Tensor) -> tuple[Cost, Run, dict[str, nn.Parameter]]:
    """The cost of a model, what runs and the parameters in use, without looking for groups; the model stays."""
    import torch_pruning as tp

    example_input = example_input.to(next(model.parameters()).device)
    with evaluating(model), all_gradients(model):  # DepGraph follows gradients, and would miss frozen layers
        run, outputs = run_once(model, example_input), tp.utils.flatten_as_list(model(example_input))
        total, used = fixed_cost(model, run, outputs), used_parameters(model, run, outputs)
    for layer in run.layers.values():
        total = total + layer.cost(layer.out, layer.inputs)
    return total, run, used


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

"""From Torch-Pruning's dependency graph to groups: everything that a layer's output channels reach, and what ties them.

Torch-Pruning lists what goes with a set of channels. Where one position is reached from two channels (a sum of two
concatenations), these are tied: they go together or not at all. Here such ties are found while following the graph.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pruning.channels.attention import attention_of, head_width
from pruning.channels.costs import bare_parameters, channel_dim, is_norm
from pruning.channels.groups import UNFOLLOWED, ChannelGroup, Slot, is_grouped, is_plain_depthwise


class Place(NamedTuple):
    """A position on the way, as Torch-Pruning's index mappings take and give it."""

    idx: int
    root_idx: int | None
    """The channel that it was reached from."""


class Ties:
    """Which of N channels belong together: a union-find structure."""

    def __init__(self, count: int):
        self._parent = list(range(count))

    def find(self, i: int) -> int:
        """The first channel of those that `i` belongs to."""
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        """Tie two channels."""
        low, high = sorted((self.find(i), self.find(j)))
        self._parent[high] = low

    def join_alike(self, keyed: Iterable[tuple[int, int]]) -> None:
        """Tie all channels of the same key, of (key, channel) pairs."""
        first: dict[int, int] = {}
        for key, channel in keyed:
            self.join(first.setdefault(key, channel), channel)

    def units(self) -> Tensor:
        """(N,) the unit of each channel, numbered as they come."""
        roots = [self.find(i) for i in range(len(self._parent))]
        number = {root: n for n, root in enumerate(dict.fromkeys(roots))}
        return torch.tensor([number[root] for root in roots])


Reached = dict[tuple[Any, Any], dict[int, int | None]]
"""(node, pruning function) -> position -> the channel that it was reached from; None where that got lost."""


class Follower:
    """Finds the groups of a model's dependency graph.

    Args:
        output_fns: autograd nodes of the model's outputs.
        kept: modules whose output channels must stay.
    """

    def __init__(self, model: nn.Module, depgraph: Any, output_fns: set[Any], kept: set[nn.Module]):
        self._model, self._depgraph = model, depgraph
        self._output_fns, self._kept = output_fns, kept
        self._modules: dict[str, Any] = dict(model.named_modules())
        self._names: dict[Any, str] = {module: name for name, module in self._modules.items()}
        self._names |= {parameter: name for name, parameter in bare_parameters(model).items()}

    def groups(self) -> Iterator[tuple[str, ChannelGroup | None, str]]:
        """(layer, its group, reason to leave it out or ""); no group where it cannot be followed.

        Each group comes once, from the first layer that makes its channels.
        """
        visited: set[nn.Module] = set()
        for module in list(self._depgraph.module2node):
            if not isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)) or module in visited:
                continue
            pruner = self._depgraph.get_pruner_of_module(module)
            if pruner is None or not (channels := pruner.get_out_channels(module)):
                continue
            try:
                reached, ties = self._follow(module, pruner.prune_out_channels, channels)
            except UNFOLLOWED:
                yield self._names[module], None, "Torch-Pruning cannot follow its channels"
                continue
            visited |= {node.module for node, function in reached if self._is_output(function)}
            yield self._names[module], *self._group(module, reached, ties)

    def _is_output(self, function: Any) -> bool:
        return self._depgraph.is_out_channel_pruning_fn(function)

    def _follow(self, module: nn.Module, function: Any, channels: int) -> tuple[Reached, Ties]:
        ties = Ties(channels)
        reached: Reached = {}
        start = [Place(i, i) for i in range(channels)]
        todo = [(self._depgraph.module2node[module], function, start)]
        while todo:
            node, function, pairs = todo.pop()
            at = reached.setdefault((node, function), {})
            fresh = []
            for pair in pairs:
                if pair.idx not in at:
                    at[pair.idx] = pair.root_idx
                    fresh.append(pair)
                elif (known := at[pair.idx]) is not None and pair.root_idx is not None:
                    ties.join(known, pair.root_idx)
            for dependency in node.dependencies if fresh else []:
                if dependency.is_triggered_by(function):
                    there = fresh
                    for mapping in dependency.index_mapping:
                        there = mapping(there) if mapping is not None else there
                    if there:
                        todo.append((dependency.target, dependency.handler, there))
        return reached, ties

    def _group(self, module: Any, reached: Reached, ties: Ties) -> tuple[ChannelGroup, str]:
        """The group of a layer, and why to leave it out ("" where there is no reason)."""
        name = self._names[module]
        attention = attention_of(self._model, name)
        if attention is not None:
            raw = self._heads(attention, ties)
            reason = "ignored by request" if module in self._kept else ""
        else:
            raw, reason = self._positions(reached)
            for layer, axis, at in raw:
                self._tie_groups(layer, axis, at, ties)
        units = ties.units()
        slots = [
            Slot(layer, axis, torch.tensor(list(at)), units[torch.tensor(list(at.values()))]) for layer, axis, at in raw
        ]
        pruner = self._depgraph.get_pruner_of_module(module)

        def find_depgraph_group() -> Any:
            return self._depgraph.get_pruning_group(module, pruner.prune_out_channels, list(range(len(units))))

        group = ChannelGroup(name, int(units.max()) + 1, slots, units, find_depgraph_group)
        return group, reason or self._uneven(group) or group.reason_against()

    def _positions(self, reached: Reached) -> tuple[list[tuple[str, str, dict]], str]:
        """(layer, axis, position -> channel) of everything with weights; and why to leave the group out."""
        found = []
        for (node, function), at in reached.items():
            module, is_output = node.module, self._is_output(function)
            if is_output and (node.grad_fn in self._output_fns or not node.outputs):
                return [], "it makes the model's output"
            if is_output and module in self._kept:
                return [], "ignored by request"
            if isinstance(module, nn.Parameter):
                if module not in self._names:
                    return [], "a parameter of an unknown layer depends on its channels"
            elif module not in self._names:
                continue  # an operation without weights: addition, concatenation, reshape
            elif not (isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)) or is_norm(module)):
                if next(module.parameters(recurse=False), None) is None:
                    continue
                return [], f"{self._names[module]} is a {type(module).__name__}, which is not supported"
            if any(root is None for root in at.values()) or max(at) >= self._width(module, is_output):
                return [], "its channels could not be followed"
            one_axis = isinstance(module, nn.Parameter) or is_norm(module) or is_plain_depthwise(module)
            found.append((self._names[module], "out" if one_axis or is_output else "in", at))
        return found, ""

    def _width(self, module: Any, is_output: bool) -> int:
        if isinstance(module, nn.Parameter):
            return module.shape[channel_dim(module)]
        pruner = self._depgraph.get_pruner_of_module(module)
        return pruner.get_out_channels(module) if is_output else pruner.get_in_channels(module)

    def _heads(self, attention: Any, ties: Ties) -> list[tuple[str, str, dict]]:
        """What goes with the heads: rows of qkv, columns of proj, of a table by heads (Swin) each its column."""
        width, total = head_width(attention), attention.proj.in_features
        ties.join_alike((channel % total // width, channel) for channel in range(3 * total))
        name = self._names[attention.qkv].removesuffix("qkv")
        found = [
            (f"{name}qkv", "out", {i: i for i in range(3 * total)}),
            (f"{name}proj", "in", {i: i for i in range(total)}),
        ]
        for key, parameter in attention.named_parameters(recurse=False):
            if parameter.shape[channel_dim(parameter)] == attention.num_heads > 1:
                found.append((name + key, "out", {i: i * width for i in range(attention.num_heads)}))
        return found

    def _tie_groups(self, layer: str, axis: str, at: dict[int, int], ties: Ties) -> None:
        """A grouped convolution loses as many channels in each of its groups: those of the same place are tied."""
        width = self._group_width(layer, axis)
        if width:
            ties.join_alike((position % width, channel) for position, channel in at.items())

    def _group_width(self, layer: str, axis: str) -> int:
        """Channels in each group of a grouped convolution; 0 of other layers."""
        module = self._modules.get(layer)
        if module is None or not is_grouped(module):
            return 0
        return (module.out_channels if axis == "out" else module.in_channels) // module.groups

    def _uneven(self, group: ChannelGroup) -> str:
        """Why a grouped convolution forbids this group: "" where it loses the same in each of its groups."""
        for slot in group.slots:
            width = self._group_width(slot.layer, slot.axis)
            if not width:
                continue
            total = int(slot.index.max()) // width + 1
            places = torch.full((self._modules[slot.layer].groups, width), -1)
            places[slot.index // width, slot.index % width] = slot.root
            if total != len(places) or not (places == places[0]).all():
                return f"{slot.layer} is a grouped convolution, whose groups would not all be cut alike"
        return ""

"""Which weights of a model masks may drop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from pruning.errors import PruningError
from pruning.layout import MAKE_PLAIN
from pruning.weights.masks import is_depthwise, name_matches

PRUNABLE_TYPES = (nn.modules.conv._ConvNd, nn.Linear, nn.Embedding)
RECURRENT_TYPES = (nn.RNNBase, nn.RNNCellBase)
"""LSTM, GRU, RNN, and the cells of each."""
ATTENTION_WEIGHTS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""Of MultiheadAttention, beside its out_proj, which is a dense layer; the last three where keys have another width."""


def prunable_weights(
    model: nn.Module,
    include: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
    depthwise: bool = False,
    policy: Mapping[str, float] | None = None,
) -> dict[str, nn.Parameter]:
    """The weights that TF-MOT would prune: of convolutions, dense layers, embeddings, and of recurrent layers both the
    inputs' and the state's; and the projections of MultiheadAttention. No bias, no normalisation.

    Args:
        model: any model.
        include, exclude: patterns of module names ("head", "blocks.3", "*.conv_pw"); a name stands for all beneath it.
        depthwise: also take depthwise kernels, which TF-MOT leaves alone.
        policy: only these, by the names of the weights: those whose zeros an engine skips (`engines.zeros_for`).

    Raises:
        PruningError: if a pattern matches no module, nothing is left to prune, or a layer makes its weight of other
            parameters (parametrisations, torch.nn.utils.prune).
    """
    names = [name for name, _ in model.named_modules()]
    for pattern in [*include, *exclude]:
        if not any(name_matches(name, pattern) for name in names):
            raise PruningError(f"The pattern {pattern!r} matches no module; see model.named_modules() for the names.")
    weights: dict[str, nn.Parameter] = {}
    seen = set()
    for name, module in model.named_modules():
        wanted = any(name_matches(name, p) for p in include) and not any(name_matches(name, p) for p in exclude)
        if not wanted or (is_depthwise(module) and not depthwise):
            continue
        for own, weight in _weights_of(module, name):
            full = f"{name}.{own}" if name else own
            if id(weight) not in seen and (policy is None or full in policy):
                seen.add(id(weight))  # a shared weight is pruned once, under its first name
                weights[full] = weight
    if not weights:
        what = "no convolution, dense, recurrent or attention layer" if policy is None else "no layer of the policy"
        raise PruningError(f"Nothing to prune: {what} is left; widen include or narrow exclude.")
    return weights


def _weights_of(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Parameter]]:
    """The prunable parameters that a module holds itself, by their names in it."""
    if isinstance(module, PRUNABLE_TYPES):
        if not isinstance(module.weight, nn.Parameter):
            raise PruningError(
                f"The layer {name!r} makes its weight of other parameters: {MAKE_PLAIN} first, or exclude it."
            )
        yield "weight", module.weight
        return
    for name, parameter in module.named_parameters(recurse=False):
        recurrent = isinstance(module, RECURRENT_TYPES) and name.startswith("weight")
        attention = isinstance(module, nn.MultiheadAttention) and name in ATTENTION_WEIGHTS
        if recurrent or attention:
            yield name, parameter

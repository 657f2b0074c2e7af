"""Quantisation-aware training: the rounding of an int8 TFLite file, inside the float model.

The rules are those of https://ai.google.dev/edge/litert/models/quantization_spec and of its converter: kernels of
convolutions are symmetric int8 per output channel, dense matrices per tensor, both within [-127, 127]; activations are
asymmetric int8 per tensor over a range that holds 0; a sigmoid's output has the scale 1/256; batch-norm is folded into
the convolution before it is rounded; a ReLU is part of the operator before it; an average pool keeps its input's scale.
Biases (int32) are not rounded.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from pruning.errors import PruningError
from pruning.layout import by_output
from pruning.modes import evaluating

ACTIVATION_MIN, ACTIVATION_MAX = -128, 127
WEIGHT_MAX = 127
RANGE_MOMENTUM = 0.02
"""Share of a new batch in the running range of an activation."""

CLIPPING = {"relu", "relu6", "hardtanh", "clamp", "relu_", "clamp_"}  # fused into the operator before
FUSING = {"add", "iadd", "sub", "mul", "imul"}  # operators, besides layers, that a ReLU is fused into
MOVING = {  # these pass values on, with the same scale
    *("flatten", "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze", "contiguous", "expand", "getitem"),
    *("chunk", "split", "dropout", "pad", "max_pool2d", "clone", "to", "size", "getattr", "_assert"),
}
OUT_OF_PLACE: dict[Any, Callable] = {operator.iadd: operator.add, operator.imul: operator.mul}


class FakeQuantise(nn.Module):
    """Rounds an activation to 256 levels; in training it follows the range of what it sees.

    Gradients pass unchanged within the range and are zero outside.
    """

    def __init__(self) -> None:
        super().__init__()
        self.range: Tensor
        self.register_buffer("range", torch.full((2,), torch.nan))  # lowest and highest value; NaN until seen

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape -> the same, on the int8 grid."""
        x = x.float()  # the grid is finer than what bfloat16 holds
        if self.training or bool(self.range.isnan().any()):
            self._observe(x.detach())
        return self.round(x)

    def round(self, x: Tensor) -> Tensor:
        """x on this grid, without a look at its range."""
        scale, zero_point = activation_grid(*self.range)
        return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, ACTIVATION_MIN, ACTIVATION_MAX)

    def _observe(self, x: Tensor) -> None:
        seen = torch.stack(x.aminmax())  # (2,)
        self.range.copy_(torch.where(self.range.isnan(), seen, self.range.lerp(seen, RANGE_MOMENTUM)))


class SameGrid(nn.Module):
    """Rounds to the grid of another rounding: what an average pool gives."""

    def __init__(self, source: FakeQuantise):
        super().__init__()
        self.source = (source,)

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape -> the same, on the source's grid."""
        return self.source[0].round(x.float())


class QuantisedLayer(nn.Module):
    """A convolution or dense layer with rounded weights, its batch-norm folded in and its statistics frozen."""

    def __init__(self, layer: nn.Module, norm: nn.Module | None):
        super().__init__()
        self.layer = layer
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> what the layer and its norm give, with int8 weights; in float32, even under autocast."""
        with torch.autocast(x.device.type, enabled=False):
            return self.compute(x.float())

    def compute(self, x: Tensor, rounded: bool = True) -> Tensor:
        """The same for float32, or without the rounding."""
        weight, bias = folded(self.layer, self.norm)
        weight = quantise_weight(self.layer, weight) if rounded else weight
        if self.layer.bias is not None:
            return torch.func.functional_call(self.layer, {"weight": weight, "bias": bias}, (x,))  # pyright: ignore[reportArgumentType]
        out = torch.func.functional_call(self.layer, {"weight": weight}, (x,))  # (B, C', ...) or (..., C')
        if bias is None:
            return out
        return out + (bias if isinstance(self.layer, nn.Linear) else bias.view(-1, *[1] * (out.dim() - 2)))


def quantisation_aware(model: nn.Module, example_input: Tensor) -> nn.Module:
    """A view of a model that computes with int8 rounding; train it in the model's place.

    Its parameters are the model's own objects, so that optimisers, masks and checkpoints of the model go on working,
    and widths stay. Batch-norm statistics are frozen, dropout is off. The ranges of activations start with the first
    batch; in eval mode they stand still. They are in no state of the model: `ranges.learnt_ranges` keeps them, and
    `ranges.learnt_activations` gives them to an int8 export.

    Args:
        model: trained, possibly pruned; traceable by torch.fx.
        example_input: (B, C, H, W), on the model's device.

    Raises:
        PruningError: if the model is not of float32 or cannot be traced, or if a batch-norm does not directly follow a
            convolution or dense layer, or follows one that makes its weights of others (weight standardisation,
            parametrisations).
    """
    if any(p.dtype != torch.float32 for p in model.parameters()):
        raise PruningError("Rounding is learnt on a model of float32: call model.float() first.")
    view = _traced(model, example_input)
    _fold_norms(view)
    _spell_out_silu(view.graph)
    for node in list(view.graph.nodes):
        _avoid_in_place(node)
        if _makes_activation(node):
            _insert_rounding(view, node)
    view.graph.lint()
    view.recompile()
    return view.to(next(model.parameters()).device)


def _traced(model: nn.Module, example_input: Tensor) -> fx.GraphModule:
    """The model's graph in evaluation mode, with the shape of every result."""
    from torch.fx.passes.shape_prop import ShapeProp

    tracer = _Tracer()
    with evaluating(model), torch.no_grad():
        try:
            graph = tracer.trace(model)
            view = fx.GraphModule(tracer.root, graph)
            ShapeProp(view).propagate(example_input.to(next(model.parameters()).device))
        except (ValueError, TypeError, RuntimeError) as error:
            told = str(error).partition("\n")[0]
            raise PruningError(
                f"torch.fx cannot trace this model ({type(error).__name__}: {told}); rounding can "
                "be learnt of convolutional and dense networks of one input, without branches that depend on values."
            ) from error
    return view


def folded(layer: Any, norm: Any) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a layer with the batch-norm after it folded in, as the converter folds them."""
    if norm is None:
        return layer.weight, layer.bias
    factor = torch.rsqrt(norm.running_var + norm.eps)  # (C',)
    factor = factor * norm.weight if norm.affine else factor
    shift = norm.bias if norm.affine else torch.zeros_like(factor)
    before = layer.bias if layer.bias is not None else torch.zeros_like(factor)
    rows = by_output(layer, layer.weight)
    weight = by_output(layer, rows * factor.view(-1, *[1] * (rows.dim() - 1)))
    return weight, shift + (before - norm.running_mean) * factor


def quantise_weight(layer: nn.Module, weight: Tensor) -> Tensor:
    """Weights on the int8 grid: per output channel for convolutions, per tensor for dense layers; zeros stay zeros."""
    if isinstance(layer, nn.Linear):
        scale = _weight_scale(weight.detach().abs().amax())
        zero = torch.zeros((), dtype=torch.int32, device=weight.device)
        return torch.fake_quantize_per_tensor_affine(weight, scale, zero, -WEIGHT_MAX, WEIGHT_MAX)
    rows = by_output(layer, weight)
    scale = _weight_scale(rows.detach().abs().flatten(1).amax(1))  # (C',)
    zeros = torch.zeros_like(scale, dtype=torch.int32)
    rounded = torch.fake_quantize_per_channel_affine(rows, scale, zeros, 0, -WEIGHT_MAX, WEIGHT_MAX)
    return by_output(layer, rounded)


def activation_grid(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero point of int8 activations over a range that is widened to hold 0."""
    low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    scale = ((high - low) / (ACTIVATION_MAX - ACTIVATION_MIN)).clamp_min(torch.finfo(torch.float32).tiny)
    zero_point = (ACTIVATION_MIN - low / scale).round().clamp(ACTIVATION_MIN, ACTIVATION_MAX)
    return scale, zero_point.to(torch.int32)


def round_sigmoid(x: Tensor) -> Tensor:
    """A sigmoid's output on its fixed grid: scale 1/256, zero point -128."""
    return torch.fake_quantize_per_tensor_affine(x, 1 / 256, ACTIVATION_MIN, ACTIVATION_MIN, ACTIVATION_MAX)


def _weight_scale(largest: Tensor) -> Tensor:
    return (largest / WEIGHT_MAX).clamp_min(torch.finfo(torch.float32).tiny)


class _Tracer(fx.Tracer):
    """Follows everything down to functions, but for layers with weights and batch-norms."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._BatchNorm))

    def call_module(self, m: nn.Module, forward: Callable, args: tuple, kwargs: dict) -> Any:
        out = super().call_module(m, forward, args, kwargs)
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            for part in ("drop", "act"):  # timm's BatchNormAct2d carries its activation
                if isinstance(getattr(m, part, None), nn.Module):
                    out = getattr(m, part)(out)
        return out


def _name(node: fx.Node) -> str:
    if node.op == "call_method":
        return str(node.target)
    return getattr(node.target, "__name__", "")


def _fold_norms(view: fx.GraphModule) -> None:
    """Put a QuantisedLayer where a layer and the batch-norm after it were."""
    modules = dict(view.named_modules())
    for node in list(view.graph.nodes):
        if node.op != "call_module" or isinstance(modules[node.target], nn.modules.batchnorm._BatchNorm):
            continue
        users = list(node.users)  # none where the output does not depend on it
        after = modules.get(users[0].target) if len(users) == 1 and users[0].op == "call_module" else None
        norm = after if isinstance(after, nn.modules.batchnorm._BatchNorm) else None
        if norm is not None and isinstance(modules[node.target], nn.Linear) and len(_shape(node)) > 2:
            norm = None  # it norms the second side, which is not the layer's output
        if norm is not None and norm.running_var is None:
            raise PruningError(f"The batch-norm {users[0].target!r} keeps no statistics (track_running_stats) to fold.")
        if norm is not None and not _is_linear(modules[node.target], node.args[0]):
            raise PruningError(
                f"The layer {node.target!r} makes its weights of others, so no batch-norm can be folded into them: "
                "make it a plain convolution that holds what it made."
            )
        name = f"quantised_{node.name}"  # one a call: a layer that is called twice may have two norms
        view.add_submodule(name, QuantisedLayer(modules[node.target], norm))
        node.target = name
        if norm is not None:
            users[0].replace_all_uses_with(node)
            view.graph.erase_node(users[0])
    for node in view.graph.nodes:
        if node.op == "call_module" and isinstance(modules.get(node.target), nn.modules.batchnorm._BatchNorm):
            raise PruningError(f"The batch-norm {node.target!r} does not directly follow a convolution or dense layer.")


def _shape(node: Any) -> torch.Size:
    return node.meta["tensor_meta"].shape


@torch.no_grad()
def _is_linear(layer: Any, given: Any) -> bool:
    """Whether what a layer gives for the tensor of node `given` doubles, its bias aside, where its weights do."""
    if nn.utils.parametrize.is_parametrized(layer):
        return False
    shape = _shape(given)
    x = torch.linspace(-1, 1, shape.numel(), dtype=layer.weight.dtype, device=layer.weight.device).view(shape)
    calls = ({"weight": factor * layer.weight} for factor in (0, 1, 2))
    none, once, twice = (torch.func.functional_call(layer, weights, (x,)) for weights in calls)
    return torch.allclose(twice - none, 2 * (once - none), rtol=1e-3, atol=1e-4)


def _spell_out_silu(graph: fx.Graph) -> None:
    """TFLite has no SiLU: it is a sigmoid and a product, each with a rounding of its own."""
    for node in list(graph.nodes):
        if node.op == "call_function" and _name(node) == "silu":
            with graph.inserting_before(node):
                gate = graph.call_function(torch.sigmoid, (node.args[0],))
                product = graph.call_function(operator.mul, (node.args[0], gate))
            gate.meta, product.meta = node.meta, node.meta
            node.replace_all_uses_with(product)
            graph.erase_node(node)


def _avoid_in_place(node: fx.Node) -> None:
    if "inplace" in node.kwargs:
        node.kwargs = {**node.kwargs, "inplace": False}
    node.target = OUT_OF_PLACE.get(node.target, node.target)


def _makes_activation(node: fx.Node) -> bool:
    """True where TFLite has a tensor with a scale of its own: after an operator and what is fused into it."""
    if node.op == "placeholder":
        return True
    meta = node.meta.get("tensor_meta")
    if node.op not in ("call_function", "call_method", "call_module") or not hasattr(meta, "dtype"):
        return False
    if not meta.dtype.is_floating_point or (node.op != "call_module" and _name(node) in MOVING):  # pyright: ignore[reportOptionalMemberAccess]
        return False
    user = next(iter(node.users)) if len(node.users) == 1 else None
    if node.op == "call_module" and user is not None and _scales(user):
        return False  # the converter moves the factor into the weights
    clipped = user is not None and _name(user) in CLIPPING
    return not (clipped and (node.op == "call_module" or _name(node) in FUSING))


def _scales(node: fx.Node) -> bool:
    """Whether it multiplies by a plain number."""
    return _name(node) in ("mul", "imul") and any(isinstance(factor, (int, float)) for factor in node.args)


def _insert_rounding(view: fx.GraphModule, node: fx.Node) -> None:
    with view.graph.inserting_after(node):
        if _name(node) in ("sigmoid", "sigmoid_"):
            rounded = view.graph.call_function(round_sigmoid, (node,))
        else:
            name = f"round_{node.name}"
            before = _rounding(view, node.args[0]) if _is_average_pool(node) else None
            view.add_submodule(name, FakeQuantise() if before is None else SameGrid(before))
            rounded = view.graph.call_module(name, (node,))
    node.replace_all_uses_with(rounded, delete_user_cb=lambda user: user is not rounded)


def _is_average_pool(node: fx.Node) -> bool:
    """True for a pool with several outputs a channel; a global one is a MEAN in TFLite, with a scale of its own."""
    return _name(node) in ("avg_pool2d", "adaptive_avg_pool2d") and node.meta["tensor_meta"].shape[2:].numel() > 1


def _rounding(view: fx.GraphModule, node: Any) -> FakeQuantise | None:
    """The module that a node calls, where it is a rounding with a range."""
    module = view.get_submodule(str(node.target)) if isinstance(node, fx.Node) and node.op == "call_module" else None
    return module if isinstance(module, FakeQuantise) else None

"""torch's own MultiheadAttention, whose heads are together as wide as its input, made one whose heads can be cut."""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pruning.channels.costs import attention_inputs
from pruning.errors import PruningError
from pruning.modes import all_gradients, evaluating, outputs_of

UNSUPPORTED = (
    "heads are cut of torch's self-attention alone: query, key and value one tensor, no kdim, vdim, add_bias_kv or "
    "add_zero_attn, in a model that does not need torch's own module"
)
ROUNDING = 1000
"""Times the type's epsilon, of the largest output: the most that a model may deviate whose attentions were replaced."""


class FusedAttention(nn.Module):
    """What torch's MultiheadAttention does as self-attention, with any number of heads; qkv and proj are as in timm.

    Args:
        attention: its parameters are taken over, not copied, so that its optimiser goes on.
    """

    in_proj_bias = None  # so that nn.TransformerEncoderLayer calls this, and not its kernel for torch's own attention

    def __init__(self, attention: nn.MultiheadAttention):
        super().__init__()
        width: Any = attention.embed_dim
        self.num_heads, self.batch_first, self.dropout = attention.num_heads, attention.batch_first, attention.dropout
        self.qkv = nn.Linear(width, 3 * width, attention.in_proj_bias is not None, device="meta")
        self.qkv.weight, self.qkv.bias = attention.in_proj_weight, attention.in_proj_bias
        self.proj = attention.out_proj
        self.train(attention.training)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As torch's; the weights are of the heads that are left.

        Raises:
            PruningError: if keys or values are not the queries, or is_causal comes without the mask that it describes.
        """
        if query is not key or query is not value:
            raise PruningError("This was traced as self-attention: query, key and value must be one tensor.")
        if is_causal and attn_mask is None:
            raise PruningError("is_causal only says what attn_mask is: give the mask, too.")
        x = query if query.dim() == 3 else query.unsqueeze(0)
        swapped = query.dim() == 3 and not self.batch_first
        x = x.transpose(0, 1) if swapped else x  # (B, N, C)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)  # (B, H, N, D)
        mask = self._mask(x, key_padding_mask, attn_mask)
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)
            weights = (scores if mask is None else scores + mask).softmax(-1)  # (B, H, N, N)
            weights = nn.functional.dropout(weights, dropout)
            out = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights if query.dim() == 3 else weights.squeeze(0)
        else:
            out = nn.functional.scaled_dot_product_attention(q, k, v, mask, dropout)
        out = self.proj(out.transpose(1, 2).flatten(2))  # (B, N, C)
        out = out.transpose(0, 1) if swapped else out
        return out if query.dim() == 3 else out.squeeze(0), weights

    def _mask(self, x: Tensor, key_padding_mask: Tensor | None, attn_mask: Tensor | None) -> Tensor | None:
        """What is added to the scores, (B or 1, H or 1, N or 1, N)."""
        masks = []
        if key_padding_mask is not None:
            masks.append(key_padding_mask.view(len(x), 1, 1, -1))
        if attn_mask is not None:
            masks.append(attn_mask.unflatten(0, (len(x), self.num_heads)) if attn_mask.dim() == 3 else attn_mask)
        added = None
        for mask in masks:
            if mask.dtype == torch.bool:
                mask = torch.zeros_like(mask, dtype=x.dtype).masked_fill(mask, -torch.inf)
            added = mask if added is None else added + mask
        return added


def fuse_attentions(model: nn.Module, example_input: Tensor) -> None:
    """Replace torch's attentions by FusedAttention, in place, where the model goes on to compute what it does.

    nn.TransformerEncoder then gives at padded positions what it gives in training; its fast path gives zero there. A
    model whose output for `example_input` that changes is left as it is.
    """
    if not any(type(module) is nn.MultiheadAttention for module in model.modules()):
        return
    example_input = example_input.to(next(model.parameters()).device)
    names = _self_attentions(model, example_input)
    try:
        fused = copy.deepcopy(model)
        replace_attentions(fused, names)
        if _differs(outputs_of(model, example_input), outputs_of(fused, example_input)):
            return
    except (RuntimeError, TypeError, NotImplementedError, AttributeError):  # no copy, or code that needs torch's own
        return
    replace_attentions(model, names)


def replace_attentions(model: nn.Module, names: Iterable[str]) -> None:
    """Put a FusedAttention where each of these attentions is, in place, under all of its names."""
    attentions: list[Any] = [model.get_submodule(name) for name in names]
    fused = {attention: FusedAttention(attention) for attention in attentions}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module in fused:
            model.set_submodule(name, fused[module])
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder) and any(isinstance(m, FusedAttention) for m in module.modules()):
            module.use_nested_tensor = False  # for torch's own kernel alone, which gives zero at padded positions


def _self_attentions(model: nn.Module, example_input: Tensor) -> list[str]:
    """The attentions with one weight for queries, keys and values that were given one tensor for all three."""
    alike: dict[str, bool] = {}
    handles = []
    for name, module in model.named_modules():
        if type(module) is nn.MultiheadAttention and _is_plain(module):

            def look(_: nn.Module, args: tuple, named: dict, name: str = name) -> None:
                query, key, value = attention_inputs(args, named)
                alike[name] = alike.get(name, True) and query is key is value

            handles.append(module.register_forward_pre_hook(look, with_kwargs=True))
    try:
        with evaluating(model), all_gradients(model):  # with gradients, nn.TransformerEncoder calls its layers' parts
            model(example_input)
    finally:
        for handle in handles:
            handle.remove()
    return [name for name, is_alike in alike.items() if is_alike]


def _is_plain(attention: nn.MultiheadAttention) -> bool:
    is_fused = isinstance(attention.in_proj_weight, nn.Parameter)  # neither kdim and vdim, nor torch.nn.utils.prune
    return is_fused and attention.bias_k is None and not attention.add_zero_attn


def _differs(before: list[Tensor], after: list[Tensor]) -> bool:
    """Whether outputs differ by more than rounding."""
    return any(
        not float((a - b).abs().max()) <= ROUNDING * torch.finfo(a.dtype).eps * float(a.abs().max())
        for a, b in zip(before, after, strict=True)
    )

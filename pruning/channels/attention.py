"""Attention with queries, keys and values from one dense layer, as in timm: its heads are cut whole."""

from typing import Any

from torch import nn


def is_fused_attention(module: nn.Module) -> bool:
    """Whether a module has the parts that timm's attention has: num_heads, and dense layers qkv and proj."""
    qkv: Any = getattr(module, "qkv", None)
    proj: Any = getattr(module, "proj", None)
    heads: Any = getattr(module, "num_heads", None)
    if not (isinstance(qkv, nn.Linear) and isinstance(proj, nn.Linear) and isinstance(heads, int) and heads > 0):
        return False
    return qkv.out_features == 3 * proj.in_features and proj.in_features % heads == 0


def attention_of(model: nn.Module, layer: str) -> Any:
    """The attention that a layer called NAME.qkv belongs to; None where it is no such layer."""
    parent, _, last = layer.rpartition(".")
    owner = model.get_submodule(parent)
    return owner if last == "qkv" and is_fused_attention(owner) else None


def head_width(attention: Any) -> int:
    """Channels of one head."""
    return attention.proj.in_features // attention.num_heads


def set_heads(attention: Any, width: int) -> None:
    """Tell an attention whose layers were cut how many heads it has left, each `width` wide."""
    attention.num_heads = attention.proj.in_features // width
    if hasattr(attention, "attn_dim"):
        attention.attn_dim = attention.proj.in_features

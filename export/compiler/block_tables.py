"""The tables and structs of a block's stages: weights as the kernels read them, bias and scale of each channel."""

from __future__ import annotations

import numpy as np

from export.compiler import fast
from export.compiler.draft import Draft
from export.compiler.graph import Conv, Depthwise, Rescaling
from export.compiler.sparse_weights import pack_sparse
from export.compiler.step import Struct, Table

_GATHER = (
    "height", "width", "inputs", "size_y", "size_x", "stride_y", "stride_x", "pad_top", "pad_left", "zero_point"
)  # fmt: skip


def full_table(op: Rescaling) -> np.ndarray | None:
    """int8 (256,): the fused activation and the table together; None where neither changes a value."""
    values = np.clip(np.arange(-128, 128), op.low, op.high)
    if op.table is not None:
        return op.table[values + 128]
    return values.astype(np.int8) if (op.low, op.high) != (-128, 127) else None


def add_weights(draft: Draft, op: Conv, stage: str, kind: str) -> None:
    """The tables and the struct of a dense or sparse convolution, and of the windows that it reads."""
    graph, tag = draft.graph, f"{draft.tag}_{stage}"
    matrix = op.weights.reshape(len(op.weights), -1)
    source = graph.tensors[op.inputs[0]]
    rescaling = fast.conv_rescaling(graph, op)
    assert rescaling is not None
    channels = _channels(f"{tag}_channels", fast.folded_bias(op, source.zero_point), *rescaling)
    fields: dict[str, str | int] = {"channels": channels.name, "inputs": matrix.shape[1], "outputs": len(matrix)}
    fields["zero_point"] = op.zero_point
    sparse = kind.startswith("sparse")
    unit = "SPARSE" if sparse else "DENSE"
    draft.need(f"{unit}_ROWS" if stage == "expand" else f"{unit}_IMAGE", op.zero_point)
    if not sparse:
        packed = fast.pack_dense(matrix) if kind == "dense" else fast.pack_clustered(matrix)
        draft.tables.append(Table("int8_t", f"{tag}_weights", packed, words=True))
        fields["weights"] = f"{tag}_weights"
    else:
        entries, counts = pack_sparse(matrix, kind)
        draft.tables.append(Table(f"{entries.dtype}_t", f"{tag}_entries", entries))
        fields |= {"entries": f"{tag}_entries", "counts": f"{tag}_counts" if counts.size else 0}
        if counts.size:
            draft.tables.append(Table("uint16_t", f"{tag}_counts", counts))
    draft.tables.append(channels)
    draft.structs.append(Struct("sparse_t" if sparse else "dense_t", tag, fields))
    draft.fields[stage] = f"&{tag}"
    if not fast.is_point(op):
        _gather(draft, op)


def add_depthwise(draft: Draft, op: Depthwise, driver: str) -> None:
    graph, tag = draft.graph, f"{draft.tag}_depthwise"
    rescaling = fast.depthwise_rescaling(graph, op)
    assert rescaling is not None
    doubled = 2 if driver != "block_map4" and op.weights.shape[0] == 3 else 1  # see kernels/README.md
    draft.tables.append(_channels(f"{tag}_channels", doubled * op.bias, *rescaling))
    fields: dict[str, str | int] = {"weights": f"{tag}_weights", "channels": f"{tag}_channels"}
    fields |= {"count": op.weights.shape[2], "zero_point": op.zero_point}
    if driver == "block_map4":
        weights, kind = fast.pack_map4(op), "map4_t"
    else:
        weights, kind = fast.pack_depthwise(op), "depthwise_t"
        fields |= {"width": graph.tensors[op.output].image[1], "row_stride": draft.fields["row_stride"]}
        fields |= {"size": op.weights.shape[0], "stride": op.stride[0], "pad_left": op.pad[1]}
        draft.need("DEPTHWISE_STRIPS" if driver == "block_strips" else "DEPTHWISE_TILES", op.zero_point)
        draft.pieces.add(fast.depthwise_core(op))
    draft.tables.append(Table(f"{weights.dtype}_t", f"{tag}_weights", weights, words=True))
    draft.structs.append(Struct(kind, tag, fields))
    draft.fields["depthwise"] = f"&{tag}"


def _gather(draft: Draft, op: Conv) -> None:
    source = draft.graph.tensors[op.inputs[0]]
    height, width, inputs = source.image
    values = (height, width, inputs, *op.weights.shape[1:3], *op.stride, *op.pad, source.zero_point)
    draft.structs.append(Struct("gather_t", f"{draft.tag}_gather", dict(zip(_GATHER, values, strict=True))))
    draft.fields["gather"] = f"&{draft.tag}_gather"


def _channels(name: str, bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> Table:
    assert (np.abs(bias) < 1 << 23).all()  # which limits on sums guarantee, see fast.py
    records = np.stack([multiplier, bias * 256 + shift], axis=1)
    return Table("fast_channel_t", name, np.concatenate([records, records[-1:]]) if len(records) % 2 else records)

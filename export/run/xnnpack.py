"""Will XNNPACK compute a .tflite with its sparse kernels on a Raspberry Pi? By the file alone, operator by operator.

They work on images in the layout NCHW, so that XNNPACK goes over to them for a cluster of operators only if every one
has a kernel there, it begins with a 3x3 convolution of stride 2 on 3 channels (which changes the layout) and ends in
averages over the pixels (which change it back), and more than two thirds of the weights of its 1x1 convolutions are
zero. The rules are those of XNNPACK's src/subgraph.c (xnn_check_nchw_compatibility, xnn_subgraph_rewrite_for_nchw) in
2026, with what TensorFlow Lite's delegate does before: it asks for sparse inference only where a file stores weights
sparsely, and a PAD goes into the convolution after it. On x86 with AVX these kernels are switched off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from export.micro.flatbuffer import Model, Op, Tensor, read_model
from export.micro.unpacking import unpacked
from export.run.nchw import enters, is_point, obstacle, zeros_in

WORTH_SAYING = 0.5
"""With fewer zeros in the 1x1 convolutions nobody expects sparse speed."""


@dataclass(frozen=True)
class SparseSpeed:
    """Whether XNNPACK's sparse kernels will compute a file on Arm."""

    engages: bool
    zeros: float
    """Share of zeros in the weights of all 1x1 convolutions."""
    promises: bool
    """The file stores weights sparsely: whoever made it expects it to be fast."""
    reason: str
    """What keeps them from it, with the remedy; empty where nothing does."""

    @property
    def line(self) -> str:
        """In one sentence; empty where there is nothing to say."""
        if self.engages:
            return f"XNNPACK's sparse kernels run it on Arm: {self.zeros:.0%} zeros in its 1x1 convolutions"
        if not self.promises and self.zeros < WORTH_SAYING:
            return ""
        return f"XNNPACK's sparse kernels do not run it ({self.zeros:.0%} zeros in its 1x1 convolutions): {self.reason}"


@dataclass
class _Node:
    """An operator as XNNPACK sees it."""

    op: Op
    inputs: list[int]
    """Tensors that are not constant."""
    weights: Tensor | None
    obstacle: str
    """Why it has no kernel for NCHW; empty where it has."""
    enters: bool
    """Changes the layout from NHWC to NCHW."""
    leaves: bool
    """Can change it back."""
    cluster: int = 0
    faults: list[tuple[int, str]] = field(default_factory=list)
    """Of its cluster, kept at the leader: operator's index, reason."""

    @property
    def name(self) -> str:
        return f"operator {self.op.index} ({self.op.name})"


def sparse_speed(model: Model | str | Path) -> SparseSpeed:
    """Check a .tflite file, or one that was read.

    Raises:
        ModelFileError: for a damaged file.
    """
    if not isinstance(model, Model):
        model = read_model(model)
    sources = unpacked(model)
    points = [weights for op in model.ops if (weights := _point_weights(model, op, sources)) is not None]
    total = sum(weights.elements for weights in points)
    zeros = sum(zeros_in(weights) for weights in points) / total if total else 0.0
    promises = any(tensor.is_sparse for tensor in model.tensors)

    def answer(reason: str) -> SparseSpeed:
        return SparseSpeed(not reason, zeros, promises, reason)

    if not points:
        return answer("it has no 1x1 convolution in float32, and for others there are no sparse kernels")
    if any(weights.type not in ("FLOAT32", "FLOAT16") for weights in points):
        return answer("they are for float weights; export with --formats sparse")
    if zeros * 3 <= 2:
        return answer("fewer than two thirds are zero; mask with hpe prune --zeros-for pi")
    if not promises:
        return answer("its weights are not stored sparsely; export with --formats sparse")
    return answer(_closed_door(model, sources))


def _closed_door(model: Model, sources: dict[int, int]) -> str:
    """Why no cluster of operators goes over to NCHW; empty where one does."""
    nodes = list(_nodes(model, sources))
    makers = {output: node for node in nodes for output in node.op.outputs}
    _join(nodes, makers)
    for node in nodes:
        _note_faults(node, nodes, makers)
    reasons: list[tuple[int, str]] = []
    for leader in {node.cluster for node in nodes if not node.obstacle}:
        members = [node for node in nodes if node.cluster == leader and not node.obstacle]
        faults = [fault for node in members for fault in node.faults]
        points = [n.weights for n in members if n.weights is not None and is_point(n.weights, n.op)]
        if not points or len(members) < 2:
            continue
        size, zeros = sum(weights.elements for weights in points), sum(map(zeros_in, points))
        if not faults and zeros * 3 <= size * 2:
            faults = [(members[0].op.index, f"of {size:,} weights together only {zeros:,} are zero; mask more")]
        if not faults:
            return ""
        reasons.append(min(faults))
    return min(reasons)[1] if reasons else "it has no chain of operators that begins and ends as they need it"


def _join(nodes: list[_Node], makers: dict[int, _Node]) -> None:
    """Number the connected operators that have kernels for NCHW alike."""
    for number, node in enumerate(nodes):
        node.cluster = number
    for node in nodes:
        if node.obstacle or node.enters:
            continue
        for source in node.inputs:
            maker = makers.get(source)
            if maker is not None and not maker.obstacle and maker.cluster != node.cluster:
                old, new = maker.cluster, node.cluster
                for other in nodes:
                    other.cluster = new if other.cluster == old else other.cluster


def _note_faults(node: _Node, nodes: list[_Node], makers: dict[int, _Node]) -> None:
    """What keeps a cluster from NCHW, seen from one of its operators: who feeds it, and who reads what it makes."""
    if node.obstacle:
        return
    if not node.enters:
        for source in node.inputs:
            maker = makers.get(source)
            if maker is None:
                node.faults.append((-1, f"{node.name} reads the input before a first 3x3 convolution of stride 2"))
            elif maker.obstacle:
                node.faults.append((maker.op.index, f"{maker.name}: {maker.obstacle}"))
    if node.leaves:
        return
    for output in node.op.outputs:
        for reader in (other for other in nodes if output in other.inputs):
            if reader.obstacle or reader.enters:
                why = reader.obstacle or "it starts from another layout"
                node.faults.append((reader.op.index, f"{reader.name}: {why}"))


def _nodes(model: Model, sources: dict[int, int]) -> Iterator[_Node]:
    """The operators that XNNPACK has left: weights unpacked, each PAD within the convolution that alone reads it."""
    constant = {i for i, tensor in enumerate(model.tensors) if tensor.is_constant} | set(sources)
    readers: dict[int, list[Op]] = {}
    for op in model.ops:
        for i in op.inputs:
            readers.setdefault(i, []).append(op)
    fused = {op.outputs[0]: op for op in model.ops if op.name == "PAD" and _goes_into(op, readers)}
    for op in model.ops:
        if not sources.keys().isdisjoint(op.outputs) or op in fused.values():
            continue
        pad = fused.get(op.inputs[0]) if op.inputs else None
        source = op.inputs[0] if pad is None else pad.inputs[0]
        inputs = [i for i in (source, *op.inputs[1:]) if i >= 0 and i not in constant]
        window = op.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
        weights = model.tensors[sources.get(op.inputs[1], op.inputs[1])] if window else None
        first = weights is not None and enters(model, op, weights, pad)
        why = "" if first else obstacle(model, op, weights, pad)
        yield _Node(op, inputs, weights, why, first, op.name in ("MEAN", "SUM", "FULLY_CONNECTED"))


def _goes_into(pad: Op, readers: dict[int, list[Op]]) -> bool:
    users = readers.get(pad.outputs[0], [])
    return (
        len(users) == 1 and users[0].name in ("CONV_2D", "DEPTHWISE_CONV_2D") and users[0].inputs[0] == pad.outputs[0]
    )


def _point_weights(model: Model, op: Op, sources: dict[int, int]) -> Tensor | None:
    """The weights of a 1x1 convolution, as the file stores them."""
    if op.name != "CONV_2D":
        return None
    weights = model.tensors[sources.get(op.inputs[1], op.inputs[1])]
    return weights if weights.is_constant and is_point(weights, op) else None

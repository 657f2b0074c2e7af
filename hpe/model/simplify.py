"""A network's simpler form for small devices: no squeeze-excitation, ReLU6, the padding they want, the same weights.

A trained network is a far better start for the simple form than random weights. Each part is replaced by what is
nearest to it, then a few epochs of `hpe finetune` make up for the rest:

- Squeeze-excitation multiplies each channel by a gate between 0 and 1 that depends on the image. Its mean over images,
  weighted by what flows through it, becomes a factor in the next convolution's weights.
- SiLU becomes ReLU6, which it resembles and which a device does for nothing inside the convolution.
- "symmetric" padding needs an operator of its own before each strided convolution, on a microcontroller; TensorFlow's
  "same" pads the other side, and keeps XNNPACK from its sparse kernels. Where the padding changes, one way or the
  other: mirrored kernels do on an image what the kernels did on the mirrored image, so they are mirrored left to
  right, and yaw and roll change sign. Up and down stay a pixel out of step; training corrects that.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from hpe.model.net import HeadPoseNet, build_model
from hpe.model.outputs import POSE
from hpe.model.pretrained import mirror_kernels
from hpe.pose.crop import IMAGE_SIZE
from hpe.pose.rotation import flip_pose
from pruning.channels.pruner import apply_widths, widths

BATCH = 128


@torch.no_grad()
def simplified(model: HeadPoseNet, images: Tensor, padding: Literal["same", "symmetric"] = "same") -> HeadPoseNet:
    """A new network without squeeze-excitation, with ReLU6 and that padding, of the same widths; `model` stays.

    Args:
        model: in evaluation mode, on the CPU.
        images: (N, 3, 64, 64) normalised faces, some hundreds, that show what the gates let through.
        padding: "same" for a microcontroller, "symmetric" for a Raspberry Pi.
    """
    small = build_model(replace(model.config, act="relu6", se=False, padding=padding, pretrained=False))
    apply_widths(small, {name: width for name, width in widths(model).items() if ".se." not in name})
    state = {name: tensor.clone() for name, tensor in model.state_dict().items() if ".se." not in name}
    for name, gate in mean_gates(model, images).items():
        state[name] *= gate[:, None, None]  # (out, C, 1, 1)
    small.load_state_dict(state)
    if model.config.padding != padding:
        _mirror(small)
    return small.eval()


def mean_gates(model: HeadPoseNet, images: Tensor) -> dict[str, Tensor]:
    """For each squeeze-excitation of a timm EfficientNet: the name of the weight after it -> (C,) its mean gates.

    The mean over images (N, 3, 64, 64) is weighted by the size of what flows through; all images count alike in a
    channel through which nothing flows (a gate of 0 would cut it off for good).
    """
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {}  # gates and flow of each batch, both (B, C)
    handles = []
    for name, block in model.named_modules():
        squeeze = getattr(block, "se", None)
        if squeeze is None or isinstance(squeeze, nn.Identity):
            continue
        gates: list[Tensor] = []

        def keep_gate(_: nn.Module, __: tuple[Tensor], gate: Tensor, gates: list[Tensor]) -> None:
            gates.append(gate.flatten(1))

        def keep_flow(_: nn.Module, inputs: tuple[Tensor], __: Tensor, gates: list[Tensor], batches: list) -> None:
            batches.append((gates.pop(), inputs[0].abs().mean((2, 3))))

        after = "conv_pwl" if hasattr(block, "conv_pwl") else "conv_pw"
        batches = seen[f"{name}.{after}.weight"] = []
        handles.append(squeeze.gate.register_forward_hook(partial(keep_gate, gates=gates)))
        handles.append(squeeze.register_forward_hook(partial(keep_flow, gates=gates, batches=batches)))
    try:
        for batch in images.split(BATCH):
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: _weighted_mean(*map(torch.cat, zip(*batches, strict=True))) for name, batches in seen.items()}


def _weighted_mean(gates: Tensor, flow: Tensor) -> Tensor:
    """Mean over images of (N, C) gates, each weighted by the flow through it; the plain mean where nothing flows."""
    total = flow.sum(0)
    return torch.where(total > 0, (gates * flow).sum(0) / total.clamp_min(1e-12), gates.mean(0))


def _mirror(model: HeadPoseNet) -> None:
    """Mirror all kernels left to right, and with them what the network sees as left: yaw and roll change sign."""
    mirror_kernels(model)
    if model.config.head == "paper":  # (out, C * rows * columns) of a flattened map
        first, side = model.head[1], IMAGE_SIZE // 32
        assert isinstance(first, nn.Linear)
        first.weight.copy_(first.weight.unflatten(1, (-1, side, side)).flip(3).flatten(1))
    for parameter in model.last_layer.parameters():
        pose = parameter[:POSE].movedim(0, -1)  # yaw, pitch, roll
        parameter[:POSE] = flip_pose(pose).movedim(-1, 0)
        if model.config.locate:
            parameter[POSE] *= -1  # the shift to the right

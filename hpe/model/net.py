"""The network: a timm EfficientNet-B0 backbone and a head of three angles; saved without pickle, pruned or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpe.io.configs import from_dict, to_dict
from hpe.io.errors import ConfigError
from hpe.io.files import read_json, write_json
from hpe.io.tensors import TensorFileError, first_not_finite, read_tensors, write_tensors
from hpe.model.checkpoint import ARCH, ModelError, checkpoint_folder
from hpe.model.config import ModelConfig
from hpe.model.outputs import POSE, output_count
from hpe.model.preprocess import preprocess_torch
from hpe.model.pretrained import load_lite0
from hpe.model.zoo import WEIGHTS
from hpe.pose.crop import IMAGE_SIZE
from pruning.channels.pruner import apply_widths, widths

OUTPUT_SCALE_DEG = 30.0
"""The head's raw output is in units of this many degrees, about the spread of the poses, so that it starts near 1."""

FORMAT = 1
"""Version of arch.json."""


class HeadPoseNet(nn.Module):
    """Backbone and head. `forward` takes normalised images (B, 3, 64, 64) and returns (yaw, pitch, roll) in degrees.

    Further outputs follow where the config asks for them (`hpe.model.outputs`).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = _backbone(config)
        features, outputs = self.backbone.num_features, output_count(config.locate, config.spread)
        if config.head == "gap":
            self.head = nn.Sequential(nn.Linear(features, outputs))
        else:  # the study's Keras head: 2x2 spatial positions at 64x64, 9.55 M parameters with the backbone
            positions = (IMAGE_SIZE // 32) ** 2
            layers = [nn.Flatten(), nn.Linear(positions * features, 1024), nn.ReLU()]
            self.head = nn.Sequential(*layers, nn.Linear(1024, 256), nn.ReLU(), nn.Linear(256, outputs))
        last = self.last_layer
        nn.init.normal_(last.weight, std=0.01)  # timm's default costs hundreds of steps
        nn.init.zeros_(last.bias)
        self.output_scale_deg = OUTPUT_SCALE_DEG

    @property
    def last_layer(self) -> nn.Linear:
        """The dense layer that gives the three angles, and what follows them; pruning leaves its outputs alone."""
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        return last

    def forward(self, images: Tensor) -> Tensor:
        return self.pose(self.backbone(images))

    def pose(self, features: Tensor) -> Tensor:
        """Outputs (B, K), the pose in degrees first, of the backbone's features: (B, C), or (B, C, 2, 2) for "paper".

        In float32 also where the backbone runs in bfloat16 (autocast), whose steps are 0.12 to 0.5 degrees.
        """
        device = features.device.type
        if isinstance(device, str) and torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                pose = self.head(features.float())  # (B, 3)
        else:
            pose = self.head(features)
        return pose if self.output_scale_deg == 1 else pose * self.output_scale_deg


def _backbone(config: ModelConfig) -> Any:
    import timm
    from timm.models.efficientnet import _gen_efficientnet

    options: dict[str, Any] = {"act_layer": config.act, "num_classes": 0}
    if config.padding == "same":
        options["pad_type"] = "same"
    if config.head == "paper":
        options["global_pool"] = ""
    try:
        if config.width == 1:
            fetch = config.pretrained and not config.is_lite
            backbone: Any = timm.create_model("efficientnet_b0", pretrained=fetch, **options)
        else:  # timm scales its B1 to B8 like this; narrower ones have no name in its registry
            backbone = _gen_efficientnet("efficientnet_b0", channel_multiplier=config.width, **options)
    except Exception as error:
        if not config.pretrained:
            raise
        raise ModelError(
            "--pretrained: the ImageNet weights could not be fetched "
            f"({type(error).__name__}); connect to the network once, or train without --pretrained"
        ) from error
    if not config.se:
        for stage in backbone.blocks:
            for block in stage:
                block.se = nn.Identity()
    if config.pretrained and config.is_lite:
        load_lite0(backbone, config.padding)
    return backbone


def build_model(config: ModelConfig, seed: int = 0) -> HeadPoseNet:
    """A new network; the same config and seed give the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return HeadPoseNet(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def example_input() -> Tensor:
    """One normalised image (1, 3, 64, 64) of zeros, for tracing and counting."""
    return torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)


def predict_all(model: torch.nn.Module, crops: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Poses in degrees (N, 3) of uint8 crops (N, 64, 64, 3), a batch at a time, on the model's device."""
    return outputs_of(model, crops, batch_size)[:, :POSE]


@torch.inference_mode()
def outputs_of(model: torch.nn.Module, crops: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """All outputs (N, K) of uint8 crops (N, 64, 64, 3); see `hpe.model.outputs`."""
    device = next(model.parameters()).device
    outputs = []
    for start in range(0, len(crops), batch_size):
        batch = torch.from_numpy(np.ascontiguousarray(crops[start : start + batch_size])).to(device)
        outputs.append(model(preprocess_torch(batch)).float().cpu())  # (B, K)
    return torch.cat(outputs).numpy()


@torch.no_grad()
def fold_output_scale(model: HeadPoseNet) -> HeadPoseNet:
    """Move the factor to degrees into the last dense layer, in place: one operator less on the device."""
    model.last_layer.weight.mul_(model.output_scale_deg)
    model.last_layer.bias.mul_(model.output_scale_deg)
    model.output_scale_deg = 1.0
    return model


def save_checkpoint(model: HeadPoseNet, folder: str | Path) -> None:
    """Write FOLDER/arch.json (config and every layer's width), then FOLDER/model.safetensors."""
    folder = Path(folder)
    config = {**to_dict(model.config), "pretrained": False}  # what is loaded needs no download
    write_json(folder / ARCH, {"format": FORMAT, "model": config, "widths": widths(model)})
    write_tensors(folder / WEIGHTS, model.state_dict())


def load_model(run: str | Path) -> HeadPoseNet:
    """The network of a run folder, or of a released model that can be trained, on the CPU, in evaluation mode.

    Its widths are those that pruning left.

    Raises:
        ModelError: if a file is missing, damaged, of another network, or holds weights that are no numbers.
    """
    folder = checkpoint_folder(run)
    model = _build_like(folder / ARCH)
    path = folder / WEIGHTS
    try:
        state, _ = read_tensors(path)
        model.load_state_dict(state)
    except TensorFileError as error:
        raise ModelError(f"{error}; make the run again") from None
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ModelError(f"{path}: does not belong to the {ARCH} beside it ({first})") from None
    name = first_not_finite(state)
    if name is not None:
        layer, _, tensor = name.rpartition(".")
        raise ModelError(f"{path}: the layer {layer} has NaN or infinity in its {tensor}; train the run again")
    return model.eval()


def _build_like(path: Path) -> HeadPoseNet:
    """A network of the config and widths in an arch.json; its weights are not those of the run yet."""
    try:
        arch = read_json(path)
        if not isinstance(arch, dict) or arch.get("format") != FORMAT:
            raise ModelError(f"{path}: not of format {FORMAT}; make the run again with this version")
        config = from_dict(ModelConfig, arch.get("model"))
        model = build_model(config)
        apply_widths(model, _checked_widths(arch.get("widths")))
    except (ConfigError, ValueError) as error:  # not JSON, a setting that cannot be, or widths of another network
        raise ModelError(f"{path}: damaged ({error}); make the run again") from None
    return model


def _checked_widths(value: Any) -> dict[str, list[int]]:
    """The widths of an arch.json, if they are a list of whole numbers per layer."""
    fine = isinstance(value, dict) and all(
        isinstance(size, list) and all(type(number) is int for number in size) for size in value.values()
    )
    if not fine:
        raise ValueError("widths must hold a list of whole numbers per layer")
    return value

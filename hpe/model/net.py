"""The network: a timm EfficientNet-B0 backbone and a head of three angles; saved without pickle, pruned or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hpe.io.files import read_json, write_json, write_whole
from hpe.model.preprocess import IMAGE_SIZE
from hpe.model.zoo import resolve_run
from hpe.training.config import ModelConfig, from_dict, to_dict
from pruning.channels.pruner import apply_widths, widths

OUTPUT_SCALE_DEG = 30.0
"""The head's raw output is in units of this many degrees, about the spread of the poses, so that it starts near 1."""

FORMAT = 1
"""Version of arch.json."""


class ModelError(RuntimeError):
    """A model that cannot be built, saved or loaded; the message names the file and the remedy."""


class HeadPoseNet(nn.Module):
    """Backbone and head. `forward` takes normalised images (B, 3, 64, 64) and returns (yaw, pitch, roll) in degrees."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = _backbone(config)
        features = self.backbone.num_features
        if config.head == "gap":
            self.head = nn.Sequential(nn.Linear(features, 3))
        else:  # the study's Keras head: 2x2 spatial positions at 64x64, 9.55 M parameters with the backbone
            positions = (IMAGE_SIZE // 32) ** 2
            layers = [nn.Flatten(), nn.Linear(positions * features, 1024), nn.ReLU()]
            self.head = nn.Sequential(*layers, nn.Linear(1024, 256), nn.ReLU(), nn.Linear(256, 3))
        last = self.last_layer
        nn.init.normal_(last.weight, std=0.01)  # timm's default costs hundreds of steps
        nn.init.zeros_(last.bias)
        self.output_scale_deg = OUTPUT_SCALE_DEG

    @property
    def last_layer(self) -> nn.Linear:
        """The dense layer that gives the three angles; pruning leaves its outputs alone."""
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        return last

    def forward(self, images: Tensor) -> Tensor:
        return self.pose(self.backbone(images))

    def pose(self, features: Tensor) -> Tensor:
        """Poses in degrees (B, 3) from what the backbone gives: (B, 1280), or (B, 1280, 2, 2) for the paper's head."""
        pose = self.head(features)  # (B, 3)
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
            backbone: Any = timm.create_model("efficientnet_b0", pretrained=config.pretrained, **options)
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
    return backbone


def build_model(config: ModelConfig, seed: int = 0) -> HeadPoseNet:
    """A new network; the same config and seed give the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return HeadPoseNet(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def example_input() -> Tensor:
    """One normalised image (1, 3, 64, 64) of zeros, for tracing and counting."""
    return torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)


@torch.no_grad()
def fold_output_scale(model: HeadPoseNet) -> HeadPoseNet:
    """Move the factor to degrees into the last dense layer, in place: one operator less on the device."""
    model.last_layer.weight.mul_(model.output_scale_deg)
    model.last_layer.bias.mul_(model.output_scale_deg)
    model.output_scale_deg = 1.0
    return model


def save_checkpoint(model: HeadPoseNet, folder: str | Path) -> None:
    """Write FOLDER/arch.json (config and every layer's width), then FOLDER/model.safetensors."""
    from safetensors.torch import save_file

    folder = Path(folder)
    config = {**to_dict(model.config), "pretrained": False}  # what is loaded needs no download
    write_json(folder / "arch.json", {"format": FORMAT, "model": config, "widths": widths(model)})
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_whole(folder / "model.safetensors", lambda path: save_file(state, path))


def load_model(folder: str | Path) -> HeadPoseNet:
    """The network of a run folder, or of a shipped model that can be trained, on the CPU, in evaluation mode.

    Its widths are those that pruning left.
    """
    folder = resolve_run(folder)
    for name in ("arch.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: no {name} there; give the folder of a finished `hpe train` or `hpe prune`")
    arch = read_json(folder / "arch.json")
    if not isinstance(arch, dict) or arch.get("format") != FORMAT:
        raise ModelError(f"{folder / 'arch.json'}: not of format {FORMAT}; make the run again with this version")
    try:
        model = build_model(from_dict(ModelConfig, arch["model"]))
        apply_widths(model, arch["widths"])
    except (KeyError, TypeError) as error:
        raise ModelError(f"{folder / 'arch.json'}: damaged ({error}); make the run again") from None
    _load_state(model, folder / "model.safetensors")
    return model.eval()


def _load_state(model: nn.Module, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        model.load_state_dict(load_file(path))
    except SafetensorError as error:
        raise ModelError(f"{path}: not a whole safetensors file ({error}); make the run again") from None
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ModelError(f"{path}: does not belong to the arch.json beside it ({first})") from None

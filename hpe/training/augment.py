"""Batched augmentation of stored crops on the device of the images, with the pose following every turn and mirror.

A stored crop is 80x80: its central 64x64 is the standard crop (see `hpe.pose.crop`), the 8 pixels around it are room
for shift, scale and rotation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from hpe.io.errors import require
from hpe.io.images import LUMA
from hpe.io.processes import WHOLE, Share
from hpe.model.preprocess import constants, normalise
from hpe.pose.crop import BASE_K, IMAGE_SIZE, STORED_SIZE
from hpe.pose.rotation import flip_pose, rotate_in_plane
from hpe.training.place import NoFace, place_in, spans

if TYPE_CHECKING:
    import torch

FAR_SHIFT, FAR_ZOOM = 0.2, 1.25
"""Of `AugmentConfig.far`. The nearest crop of the sketch's scan is off by up to 0.17 of its side and 1.22 in size."""


@dataclass(frozen=True)
class AugmentConfig:
    """How training images vary. Each sample draws its own values; 0 switches a step off."""

    shift: float = 0.06
    """Largest shift in x and in y, as a fraction of the crop."""
    scale: float = 0.1
    """Largest relative change of size: 0.1 zooms by a factor between 1/1.1 and 1.1."""
    k_max: float = 0.3
    """The crop margin k is drawn from [0.2, k_max], as in the 300W-LP protocol (0.4 there); 0.2 keeps the crop. The
    stored border holds real pixels up to k = 0.295; what a wider crop sees beyond it is reflected."""
    rotation_deg: float = 20.0
    """Largest turn in the image plane, either way, times cos(yaw); all three angles of the label change with it."""
    flip: float = 0.5
    """Probability of a mirrored image (yaw and roll change sign)."""
    brightness: float = 0.2
    """Largest change of brightness, as a fraction of the full range."""
    contrast: float = 0.3
    """Largest relative change of contrast: 0.3 multiplies the distance from the mean by 0.7 to 1.3."""
    gray: float = 0.1
    """Probability of an image without colour."""
    blur: float = 0.2
    """Probability of a Gaussian blur of up to 1.2 pixels."""
    cutout: float = 0.2
    """Probability of one gray rectangle, each side 0.1 to 0.4 of the image."""
    no_face: float = 0.0
    """Probability of an image that shows no face, for a network that locates: a corner, shuffled tiles, a face upside
    down. Their pose counts for nothing."""
    far: float = 0.0
    """Probability of a crop that lies far off the face, as a scan or a rough detector gives it, for a network that
    locates: shifted by up to 0.2 of a crop and zoomed by up to 1.25. It teaches the place alone; its pose counts for
    nothing, for a second look follows."""
    black_border: float = 0.2
    """Probability of black bands along the sides, up to 0.2 of the image each, as crops past the photo's edge have."""

    def __post_init__(self) -> None:
        for name in ("flip", "gray", "blur", "cutout", "no_face", "far", "black_border"):
            self._check(name, 0, 1)
        limits = {"shift": 0.5, "scale": 1.0, "rotation_deg": 180.0, "brightness": 1.0, "contrast": 1.0}
        for name, limit in limits.items():
            self._check(name, 0, limit)
        self._check("k_max", BASE_K, 0.6)

    def _check(self, name: str, low: float, high: float) -> None:
        value, flag = getattr(self, name), "--" + name.replace("_", "-")
        require(low <= value <= high, f"{flag} is {value}; it must lie between {low:g} and {high:g}")

    @classmethod
    def off(cls) -> AugmentConfig:
        """A configuration that changes nothing: the standard crop, normalised."""
        return cls(**{field.name: BASE_K if field.name == "k_max" else 0.0 for field in fields(cls)})


class TrainAugment:
    """Batched augmentation on the device of the images, with parameters drawn for each sample from one generator.

    The drawn numbers depend on the generator's device alone, so a CPU generator gives the same ones on every machine.
    """

    DRAWS = 21  # uniform numbers a sample uses, and NoFace.DRAWS more for what may show no face

    def __init__(self, config: AugmentConfig, locate: bool = False) -> None:
        for chosen, flag in ((config.no_face, "--no-face"), (config.far, "--far")):
            require(locate or not chosen, f"{flag} needs a network that locates (--locate); leave it out")
        self.config, self.locate = config, locate

    def __call__(
        self, images: torch.Tensor, pose_deg: torch.Tensor, generator: torch.Generator, share: Share = WHOLE
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised float32 (B, 3, 64, 64), channels_last, and targets from stored uint8 (B, 80, 80, 3) and poses.

        Targets are poses (B, 3); where `locate` is set (B, 8): with what `place_in` gives, 1 for a face and 0 for none,
        and 1 where the pose counts, 0 where not.
        Images that are a `share` of a batch vary as they would in the whole of it.
        """
        import torch

        config = self.config
        uniform = _draw(generator, self.DRAWS, images, share)
        u = iter(uniform.unbind(1))  # each step takes its own columns, each (B,) in [0, 1)

        flipped = next(u) < config.flip
        pose_deg = torch.where(flipped[:, None], flip_pose(pose_deg), pose_deg)
        # A turn changes roll by about turn / cos(yaw): heads in profile turn less, or their Euler labels would explode.
        clockwise_deg = _centred(next(u)) * config.rotation_deg * torch.cos(torch.deg2rad(pose_deg[:, 0])).abs()
        pose_deg = rotate_in_plane(pose_deg, clockwise_deg) if config.rotation_deg else pose_deg

        zoom_by = _centred(next(u))
        k = BASE_K + (config.k_max - BASE_K) * next(u)
        way = torch.stack([_centred(next(u)), _centred(next(u))], 1)  # (B, 2)
        zoom, shift = (1 + config.scale) ** zoom_by, way * config.shift
        far = _draw(generator, 1, images, share)[:, 0] < config.far if config.far else None
        if far is not None:
            zoom = torch.where(far, FAR_ZOOM**zoom_by, zoom)
            shift = torch.where(far[:, None], way * FAR_SHIFT, shift)
        seen = place_in(clockwise_deg, zoom, k, shift) if self.locate else None  # (B, 3)
        none = self._none(generator, images, share) if config.no_face else None
        if none is not None:
            zoom, shift = none.aim(zoom, shift)
        x = images.permute(0, 3, 1, 2).float() / 255  # (B, 3, 80, 80)
        x = _warp(x, flipped, clockwise_deg, zoom, k, shift)  # (B, 3, 64, 64)
        if none is not None:
            x = none.spoil(x)

        x = _blur(x, next(u) < config.blur, 0.3 + 0.9 * next(u))
        brightness = _centred(next(u)) * config.brightness
        contrast = 1 + _centred(next(u)) * config.contrast
        x = _colour(x, brightness, contrast, next(u) < config.gray)
        hidden = next(u) < config.cutout
        x = _cutout(x, hidden, torch.stack([next(u) for _ in range(4)], 1))
        x = _black_border(x, next(u) < config.black_border, torch.stack([next(u) for _ in range(4)], 1))
        x = normalise(x).contiguous(memory_format=torch.channels_last)
        if seen is None:
            return x, pose_deg
        face = torch.ones(len(x), device=x.device) if none is None else (~none.chosen).float()
        counts = face if far is None else face * (~far).float()
        return x, torch.cat([pose_deg, seen, torch.stack([face, counts], 1)], 1)  # (B, 8)

    def _none(self, generator: torch.Generator, images: torch.Tensor, share: Share) -> NoFace:
        """Which images will show no face, and what instead."""
        return NoFace(_draw(generator, NoFace.DRAWS, images, share), self.config.no_face)


def _draw(generator: torch.Generator, numbers: int, images: torch.Tensor, share: Share) -> torch.Tensor:
    """Uniform numbers (B, numbers) for images (B, ...), which are a share of the batch that they are drawn for."""
    import torch

    joint = torch.rand(len(images) * share.count, numbers, generator=generator, device=generator.device)
    return share.of(joint).to(images.device)


def _centred(uniform: torch.Tensor) -> torch.Tensor:
    """From [0, 1) to [-1, 1)."""
    return 2 * uniform - 1


def _warp(
    x: torch.Tensor,
    flipped: torch.Tensor,
    clockwise_deg: torch.Tensor,
    zoom: torch.Tensor,
    k: torch.Tensor,
    shift: torch.Tensor,
) -> torch.Tensor:
    """Resample (B, 3, 80, 80) to (B, 3, 64, 64): mirror, turn clockwise, zoom, widen the crop to margin k, shift.

    Beyond the stored border the image is reflected: black corners would give the angle away.
    """
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    width, height, up = spans(k)
    to_stored = IMAGE_SIZE / STORED_SIZE  # half a standard crop in the coordinates of grid_sample, where the edge is 1

    # grid_sample asks where each output pixel comes from. Turning the image clockwise (y points down here)
    # looks it up anticlockwise; the mirror comes first in the image, so last in the look-up.
    angle = torch.deg2rad(clockwise_deg)
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    mirror = torch.where(flipped, -1.0, 1.0)
    row_x = torch.stack([mirror * cos * width, mirror * sin * height, mirror * 2 * shift[:, 0]], 1)
    row_y = torch.stack([-sin * width, cos * height, 2 * shift[:, 1] - 2 * up], 1)
    look_up = torch.stack([row_x, row_y], 1) * to_stored  # (B, 2, 3)
    grid = affine_grid(look_up, [len(x), 3, IMAGE_SIZE, IMAGE_SIZE], align_corners=False)  # (B, 64, 64, 2)
    return grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def _blur(x: torch.Tensor, chosen: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Gaussian blur of the chosen images (B,) by sigma (B,) pixels, at most 1.2.

    A CPU blurs the chosen ones alone. A GPU blurs all and takes the chosen: to pick them, it would have to wait until
    their number is known.
    """
    import torch

    if x.device.type == "cpu":
        x[chosen] = _gaussian(x[chosen], sigma[chosen])
        return x
    return torch.where(chosen[:, None, None, None], _gaussian(x, sigma), x)


def _gaussian(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Images (B, 3, H, W) blurred by sigma (B,) pixels: seven separable taps, reflected at the edges."""
    import torch
    from torch.nn.functional import pad

    size = x.shape[-1]
    taps = torch.exp(-(torch.arange(-3, 4, device=x.device) ** 2) / (2 * sigma[:, None] ** 2))  # (B, 7)
    taps = (taps / taps.sum(1, keepdim=True))[:, :, None, None, None]  # (B, 7, 1, 1, 1)
    x = pad(x, (3, 3, 3, 3), mode="reflect")
    x = torch.stack([taps[:, i] * x[..., i : i + size] for i in range(7)]).sum(0)
    return torch.stack([taps[:, i] * x[..., i : i + size, :] for i in range(7)]).sum(0)


def _colour(x: torch.Tensor, brightness: torch.Tensor, contrast: torch.Tensor, gray: torch.Tensor) -> torch.Tensor:
    """Contrast about the image's mean, brightness and gray, then clipped to 0..1; parameters are (B,)."""
    import torch

    luma = constants(LUMA, x).expand(3, 3)
    mix = torch.where(gray[:, None, None], luma, torch.eye(3, device=x.device)) * contrast[:, None, None]  # (B, 3, 3)
    mean = x.mean((1, 2, 3))
    offset = (mean * (1 - contrast) + brightness)[:, None, None].expand(-1, 3, 1)
    return torch.baddbmm(offset, mix, x.flatten(2)).clamp_(0, 1).view_as(x)


def _cutout(x: torch.Tensor, chosen: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Cover one rectangle of each chosen image with mid gray; uniform (B, 4) gives its centre and its sides."""
    import torch

    coordinate = (torch.arange(IMAGE_SIZE, device=x.device) + 0.5) / IMAGE_SIZE
    half = (0.1 + 0.3 * uniform[:, 2:]) / 2
    inside = (coordinate - uniform[:, :2, None]).abs() < half[:, :, None]  # (B, 2, 64): along x, along y
    covered = inside[:, 1, :, None] & inside[:, 0, None, :] & chosen[:, None, None]  # (B, 64, 64)
    return x.masked_fill_(covered[:, None], 0.5)


def _black_border(x: torch.Tensor, chosen: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Blacken bands of the chosen images at left, right, top, bottom; uniform (B, 4): how wide, half are absent."""
    import torch

    coordinate = (torch.arange(IMAGE_SIZE, device=x.device) + 0.5) / IMAGE_SIZE
    width = 0.2 * _centred(uniform).clamp(min=0) * chosen[:, None]  # (B, 4)
    left, right, top, bottom = width[:, :, None].unbind(1)  # each (B, 1)
    black_x = (coordinate < left) | (1 - coordinate < right)  # (B, 64)
    black_y = (coordinate < top) | (1 - coordinate < bottom)
    return x.masked_fill_((black_x[:, None, :] | black_y[:, :, None])[:, None], 0.0)

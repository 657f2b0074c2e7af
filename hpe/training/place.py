"""Where the face is in an augmented crop, and crops that show none: what a network learns that locates (batched)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpe.pose.crop import BASE_K, IMAGE_SIZE

if TYPE_CHECKING:
    import torch

TILES = 4
"""Shuffled pictures are cut into N tiles along each side."""


def spans(k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of crops of margin k (B,): width and height in standard crops, and how far the middle lies above, in heights.

    A crop of margin k spans 1 + 4k box widths and 1 + 2.6k heights, 2k of them above the box (hpe.pose.crop).
    """
    width, height = (1 + 4 * k) / (1 + 4 * BASE_K), (1 + 2.6 * k) / (1 + 2.6 * BASE_K)
    return width, height, (k - BASE_K) * (2 - 1.3) / (1 + 2.6 * BASE_K)


def place_in(clockwise_deg: torch.Tensor, zoom: torch.Tensor, k: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Where the standard crop lies in one that was turned, zoomed, widened and shifted as in `augment`: (B, 3).

    Its middle right of and below that of the crop seen, as a share of the side, and the logarithm of its size, the
    geometric mean of both sides.
    """
    import torch

    width, height, up = spans(k)
    # the crop seen has its middle at (x, y) of the standard crop, whose sides are 2, and is A (2, 2) times as wide
    angle = torch.deg2rad(clockwise_deg)
    cos, sin = torch.cos(angle), torch.sin(angle)
    x, y = 2 * shift[:, 0], 2 * shift[:, 1] - 2 * up
    right = -(cos * x - sin * y) * zoom / width
    down = -(sin * x + cos * y) * zoom / height
    size = torch.log(zoom) - (torch.log(width) + torch.log(height)) / 2
    return torch.stack([right / 2, down / 2, size], 1)


class NoFace:
    """Images of a batch that are to show no face: a corner, shuffled tiles, or a face upside down, one third each."""

    DRAWS = 7

    def __init__(self, uniform: torch.Tensor, share: float) -> None:
        """`uniform` (B, 7): numbers in [0, 1)."""
        self.chosen = uniform[:, 0] < share  # (B,)
        kind = (uniform[:, 1] * 3).long()
        self._corner, self._tiles, self._over = (self.chosen & (kind == number) for number in range(3))
        self._uniform = uniform

    def aim(self, zoom: torch.Tensor, shift: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Zoom (B,) and shift (B, 2), those of corners changed: what is seen there holds neither eyes nor mouth."""
        import torch

        u = self._uniform
        far = 0.42 + 0.13 * u[:, 2:4]  # of a crop, in x and y: beside the face and into the border
        way = torch.where(u[:, 4:6] < 0.5, -1.0, 1.0)
        near = 2.5 + 1.5 * u[:, 6]
        return torch.where(self._corner, near, zoom), torch.where(self._corner[:, None], far * way, shift)

    def spoil(self, x: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, 64, 64) with their tiles shuffled, or turned over, where that was chosen."""
        import torch

        side = IMAGE_SIZE // TILES
        tiles = x.unflatten(3, (TILES, side)).unflatten(2, (TILES, side))  # (B, 3, row, y, column, x)
        tiles = tiles.permute(0, 1, 2, 4, 3, 5).flatten(2, 3)  # (B, 3, tile, y, x)
        order = torch.arange(TILES**2, device=x.device) * 7 % TILES**2  # no tile stays beside its neighbour
        mixed = tiles[:, :, order].unflatten(2, (TILES, TILES)).permute(0, 1, 2, 4, 3, 5)
        mixed = mixed.flatten(4, 5).flatten(2, 3)  # (B, 3, 64, 64)
        x = torch.where(self._tiles[:, None, None, None], mixed, x)
        return torch.where(self._over[:, None, None, None], x.flip(2), x)

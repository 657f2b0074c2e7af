"""What the user of `hpe predict` may choose, for all sources of one call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpe.inference.found import Found
from hpe.inference.neutral import NeutralLooks
from hpe.inference.sources import is_video
from hpe.io.errors import require
from hpe.pose.crop import Box


@dataclass(frozen=True)
class PredictOptions:
    """How faces are found, what computes, and what is drawn."""

    boxes: Mapping[str, Sequence[Box] | Sequence[Found]] | None = None
    """Face boxes by file name ("" for every picture) instead of searching."""
    crops: bool = False
    """The pictures are face crops already."""
    smooth: bool = True
    """Filter the poses of a video over time."""
    draw: Path | None = None
    """Folder for the pictures and videos with axes."""
    frames: int | None = None
    """End a video or camera after N frames."""
    reference: bool = False
    """Compute with TensorFlow Lite's reference kernels, whose int8 output is a microcontroller's."""
    paced: bool = False
    """Show a video no faster than it was filmed, as for someone who watches it."""
    neutral: NeutralLooks | None = None
    """Tell poses relative to these."""

    def __post_init__(self) -> None:
        require(self.frames is None or self.frames >= 1, f"--frames {self.frames}: give 1 frame or more")

    def check_sources(self, sources: Iterable[Path | int | str]) -> None:
        """ConfigError where pictures (Path) alone are given what a video or a camera (a number, a URL) alone obeys."""
        if any(not isinstance(source, Path) or is_video(source) for source in sources):
            return
        seconds = self.neutral is not None and self.neutral.seconds is not None
        asked = {"--serve": self.paced, "--frames": self.frames is not None, "--no-smooth": not self.smooth}
        for flag, given in (asked | {"--neutral SECONDS": seconds}).items():
            require(not given, f"{flag} is for a video or a camera; give one of them, or leave it out")

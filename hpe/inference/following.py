"""Faces followed through a video by the network alone: its last box, corrected by what it sees there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hpe.inference.predictor import BoxError, Face, HeadPosePredictor
from hpe.inference.tracking import overlap

LOST = 0.5
"""A face with a lower score is lost."""
ONE_FACE = 0.4
"""Boxes with a larger share in common are of one face; a detector tells two apart up to 0.3, one behind the other."""
SEARCH_EVERY = 60
"""After N frames the whole frame is searched for faces that came in."""


class NetworkFollower:
    """The faces of each frame of a video, by a model that locates.

    `search` gives the faces of a whole frame (a detector's, corrected by the model). It is asked for the first frame,
    when a face was lost, and every `search_every` frames; in between the model alone follows.
    """

    def __init__(
        self,
        predictor: HeadPosePredictor,
        search: Callable[[np.ndarray], Sequence[Face]],
        search_every: int = SEARCH_EVERY,
    ) -> None:
        self._predictor, self._search, self._every = predictor, search, search_every
        self._faces: list[Face] = []
        self._left = 0
        self.searches = 0

    def __call__(self, pixels: np.ndarray) -> list[Face]:
        """The faces of the next frame RGB uint8 (H, W, 3)."""
        followed = [face for face in (self._next(pixels, face) for face in self._faces) if face is not None]
        followed = _distinct(followed)
        self._left -= 1
        if not followed or len(followed) < len(self._faces) or self._left <= 0:
            found = [face for face in self._search(pixels) if face.score is None or face.score >= LOST]
            followed = _distinct([*followed, *found])
            self._left = self._every
            self.searches += 1
        self._faces = followed
        return followed

    def _next(self, pixels: np.ndarray, face: Face) -> Face | None:
        """The same face in this frame; None where it is lost."""
        try:
            now = self._predictor.look(pixels, face.box)
        except BoxError:  # it left the picture
            return None
        return now if now.score is None or now.score >= LOST else None


def _distinct(faces: Sequence[Face]) -> list[Face]:
    """Without those that overlap an earlier one."""
    kept: list[Face] = []
    for face in faces:
        if all(overlap(face.box, other.box) < ONE_FACE for other in kept):
            kept.append(face)
    return kept

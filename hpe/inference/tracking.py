"""Poses over time: the One Euro filter, and which face of a frame is which of the frame before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpe.pose.crop import Box

LOST_AFTER_S = 1.0
"""A face that was missed and not seen for this long starts again when it comes back."""
SAME_FACE = 0.2
"""Boxes that share this much of their union, or more, may be the same face."""
LEFT_AND_CAME = 0.2
"""That one face left and another came at once is believed where it explains this much more of the overlaps."""
ROUNDING = 1e-9
"""Sums of overlaps that differ by less are equal."""


class OneEuro:
    """The One Euro filter (Casiez, Roussel & Vogel, CHI 2012): strong at rest, quick in motion.

    `filter(time_s, values)` takes and returns an array of any one shape; here angles in degrees. The cut-off frequency
    is `min_cutoff_hz` at rest and rises by `beta` for each degree a second.
    """

    def __init__(self, min_cutoff_hz: float = 1.0, beta: float = 0.05, speed_cutoff_hz: float = 1.0) -> None:
        self.min_cutoff_hz, self.beta, self.speed_cutoff_hz = min_cutoff_hz, beta, speed_cutoff_hz
        self._time_s: float | None = None

    def __call__(self, time_s: float, values: np.ndarray) -> np.ndarray:
        """The filtered values; a time that does not advance returns the last ones."""
        values = np.asarray(values, np.float64)
        if self._time_s is None:
            self._values, self._speed = values, np.zeros_like(values)
        elif time_s > self._time_s:
            period_s = time_s - self._time_s
            speed = (values - self._values) / period_s
            self._speed = _low_pass(speed, self._speed, _alpha(self.speed_cutoff_hz, period_s))
            cutoff_hz = self.min_cutoff_hz + self.beta * np.abs(self._speed)
            self._values = _low_pass(values, self._values, _alpha(cutoff_hz, period_s))
        self._time_s = time_s if self._time_s is None else max(time_s, self._time_s)
        return self._values


def _alpha(cutoff_hz: np.ndarray | float, period_s: float) -> np.ndarray | float:
    """The weight of the new value: 1 / (1 + tau / Te), tau = 1 / (2 pi fc)."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff_hz * period_s))


def _low_pass(new: np.ndarray, old: np.ndarray, alpha: np.ndarray | float) -> np.ndarray:
    return alpha * new + (1 - alpha) * old


@dataclass
class Track:
    """One face through a video."""

    number: int
    box: Box
    yaw_deg: float
    seen_s: float
    smooth: OneEuro


class Tracks:
    """The faces of a video, told apart by where they are."""

    def __init__(self) -> None:
        self._tracks: list[Track] = []
        self._count = 0
        self._before_s = 0.0

    def near(self, box: Box) -> Track | None:
        """The face that was last seen where `box` (left, top, right, bottom in pixels) is."""
        shares = [(overlap(box, track.box), track) for track in self._tracks]
        share, track = max(shares, key=lambda pair: pair[0], default=(0.0, None))
        return track if share >= SAME_FACE else None

    def yaw_near(self, box: Box) -> float | None:
        """The last yaw in degrees of the face there, None where there was none."""
        track = self.near(box)
        return None if track is None else track.yaw_deg

    def update(
        self, time_s: float, boxes: Sequence[Box], poses_deg: Sequence[np.ndarray]
    ) -> list[tuple[int, np.ndarray]]:
        """The number of each face and its filtered pose (3,) in degrees."""
        since_s = min(time_s - LOST_AFTER_S, self._before_s)  # frames may be further apart
        self._tracks = [track for track in self._tracks if track.seen_s >= since_s]
        self._before_s = time_s
        known = dict(enumerate(self._tracks))
        shares = {(face, place): overlap(box, known[place].box) for face, box in enumerate(boxes) for place in known}
        matches = match({pair: share for pair, share in shares.items() if share >= SAME_FACE})
        answers = []
        for face, (box, pose) in enumerate(zip(boxes, poses_deg, strict=True)):
            track = known[matches[face]] if face in matches else self._begin(box, time_s)
            track.box, track.yaw_deg, track.seen_s = box, float(pose[0]), time_s
            answers.append((track.number, track.smooth(time_s, pose)))
        return answers

    def _begin(self, box: Box, time_s: float) -> Track:
        """A track for a face that was not there before."""
        track = Track(self._count, box, 0.0, time_s, OneEuro())
        self._count += 1
        self._tracks.append(track)
        return track


def match(shares: Mapping[tuple[int, int], float]) -> dict[int, int]:
    """The track of each face, by how much every (face, track) that may be one overlaps.

    The assignment with the largest sum of overlaps, where every face with a track adds LEFT_AND_CAME: so neighbours
    keep their tracks when all move together. Found by augmenting paths: each time the one of largest gain, along which
    faces hand their tracks on.
    """
    tracks: dict[int, int] = {}
    while True:
        owners = {track: face for face, track in tracks.items()}
        gains = {face: 0.0 for face, _ in shares if face not in tracks}
        best: dict[int, float] = {}
        takers: dict[int, int] = {}
        changed = True
        while changed:  # Bellman-Ford: the largest gain with which each track is reached
            changed = False
            for (face, track), share in shares.items():
                if face not in gains or tracks.get(face) == track:
                    continue
                gain = gains[face] + share
                if gain > best.get(track, -math.inf) + ROUNDING:
                    best[track], takers[track], changed = gain, face, True
                    if track in owners:
                        gains[owners[track]] = gain - shares[owners[track], track]
        free = [track for track in best if track not in owners and best[track] + LEFT_AND_CAME > 0]
        if not free:
            return tracks
        taken: int | None = max(free, key=lambda track: best[track])
        while taken is not None:
            face = takers[taken]
            handed_on = tracks.get(face)
            tracks[face] = taken
            taken = handed_on


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes (left, top, right, bottom), 0 to 1."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0.0) * max(height, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / union if union > 0 else 0.0

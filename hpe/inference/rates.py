"""How fast camera, detector and network are, while they run and in the end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from hpe.inference.sources import Frame

FRAMES_NOW = 60
"""The rates of now are over the last N frames."""
FRAMES_KEPT = 10_000
"""The medians at the end are over the last N frames."""


@dataclass(frozen=True)
class _Taken:
    """One frame: when it was done (seconds), and the milliseconds of waiting, finding and of the network."""

    done_s: float
    camera_ms: float
    find_ms: float
    model_ms: float
    faces: int


class RateCounter:
    """Counts the frames of one video or camera; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._start_s = clock()
        self._taken: deque[_Taken] = deque(maxlen=FRAMES_KEPT)
        self._camera_ms = 0.0
        self.frames = 0
        """Frames that came, and how many of them could not be read."""
        self.unreadable = 0

    def waited_for(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The same frames, with the time noted that each was waited for."""
        while True:
            start_s = self._clock()
            frame = next(frames, None)
            self._camera_ms = (self._clock() - start_s) * 1e3
            if frame is None:
                return
            self.frames += 1
            self.unreadable += frame.pixels is None
            yield frame

    def add(self, find_ms: float, model_ms: float, faces: int) -> None:
        """Note what the frame took that came last."""
        self._taken.append(_Taken(self._clock(), self._camera_ms, find_ms, model_ms, faces))

    def now(self) -> dict[str, dict[str, float]]:
        """camera, detector, network: `per_second`, and `ms` (median of one wait, search, inference) of late."""
        last = [self._taken[index] for index in range(-min(FRAMES_NOW, len(self._taken)), 0)]
        begin_s = self._taken[-FRAMES_NOW - 1].done_s if len(self._taken) > FRAMES_NOW else self._start_s
        span_s = max(1e-6, self._clock() - begin_s)
        searches = [taken.find_ms for taken in last if taken.find_ms > 0]
        inferences = [taken.model_ms / taken.faces for taken in last if taken.faces]
        counts = {
            "camera": (len(last), [taken.camera_ms for taken in last]),
            "detector": (len(searches), searches),
            "network": (sum(taken.faces for taken in last), inferences),
        }
        return {
            name: {"per_second": round(count / span_s, 2), "ms": round(median(took or [0.0]), 3)}
            for name, (count, took) in counts.items()
        }

    def summary(self) -> str:
        """All frames in a line."""
        rate = self.frames / max(1e-6, self._clock() - self._start_s)
        find = median([taken.find_ms for taken in self._taken] or [0.0])
        model = median([taken.model_ms for taken in self._taken] or [0.0])
        return (
            f"{self.frames} frames, {self.unreadable} of them unreadable, {rate:.1f} a second; "
            f"median of finding {find:.1f} ms, model {model:.1f} ms"
        )

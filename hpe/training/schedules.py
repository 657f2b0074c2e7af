"""Learning rates: 1cycle, a function of the step; and plateau, which looks at the error after each epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass

START = 0.04
"""1cycle: the rate of the first step, as a share of the peak."""
WARM_UP = 0.15
"""1cycle: the share of the steps over which the rate rises."""


def one_cycle(step: int, peak: float, steps: int) -> float:
    """Learning rate of Smith's 1cycle policy: linear up to `peak` over WARM_UP of the steps, then cosine to zero."""
    rising = max(1.0, WARM_UP * steps)
    if step < rising:
        return peak * (START + (1 - START) * step / rising)
    progress = min(1.0, (step - rising) / max(1.0, steps - rising))
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass
class Plateau:
    """The rate falls when the error has stalled, as in torch's ReduceLROnPlateau."""

    lr: float
    """The rate now."""
    best: float | None = None
    """The least error so far, in degrees; None before the first epoch, and after the network was changed."""
    stalled: int = 0
    """Epochs since the least error, or since the rate fell."""

    def forget(self) -> None:
        """The network was changed (pruned): earlier errors say nothing about this one."""
        self.best, self.stalled = None, 0

    def look(self, error_deg: float, patience: int, factor: float, min_lr: float) -> None:
        """Take in the error of one epoch, and lower the rate where it did not improve for more than `patience`."""
        if self.best is None or error_deg < self.best * (1 - 1e-4):
            self.best, self.stalled = error_deg, 0
        else:
            self.stalled += 1
        if self.stalled > patience:
            self.lr, self.stalled = max(self.lr * factor, min_lr), 0

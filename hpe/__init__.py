"""Head pose on tiny devices: train, prune, quantise, measure. `from hpe import HeadPosePredictor` needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpe.inference.predictor import HeadPosePredictor, load_predictor

__all__ = ["HeadPosePredictor", "load_predictor"]


def __getattr__(name: str) -> object:
    """Load the public names on first use, so that `hpe --help` does not pay for them."""
    if name in __all__:
        from hpe.inference import predictor as predict

        return getattr(predict, name)
    raise AttributeError(f"module 'hpe' has no attribute {name!r}")

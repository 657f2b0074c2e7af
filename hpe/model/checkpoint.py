"""Where a trained network lies: the two files that a run folder must hold. Looked at before torch is imported."""

from __future__ import annotations

from pathlib import Path

from hpe.io.errors import HpeError
from hpe.model.zoo import WEIGHTS, resolve_run

ARCH = "arch.json"
"""Config and widths of the network, beside its weights."""


class ModelError(HpeError, RuntimeError):
    """A model that cannot be built, saved or loaded; the message names the file and the remedy."""


def checkpoint_folder(run: str | Path) -> Path:
    """The folder with the weights of a run, or of a released model that can be trained.

    Raises:
        ModelError: if a file of it is missing.
        ModelNameError: if there is no such run.
    """
    folder = resolve_run(run)
    for name in (ARCH, WEIGHTS):
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: no {name} there; give the folder of a finished `hpe train` or `hpe prune`")
    return folder

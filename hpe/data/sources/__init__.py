"""Where faces come from. A kind of data is a function from a part of a specification to a `Source` (see items)."""

from __future__ import annotations

from hpe.data.sources.biwi import list_biwi
from hpe.data.sources.csv_folder import list_csv
from hpe.data.sources.items import Source
from hpe.data.sources.mat_pairs import list_300w_lp, list_aflw2000
from hpe.data.sources.rendered import list_synthetic
from hpe.data.spec import DataError, Part

__all__ = ["list_source"]

LISTERS = {
    "csv": list_csv,
    "aflw2000": list_aflw2000,
    "300w-lp": list_300w_lp,
    "biwi": list_biwi,
    "synthetic": list_synthetic,
}


def list_source(part: Part) -> Source:
    """What a part of a specification holds, before an image is read; DataError where there is nothing to list."""
    if part.kind != "synthetic" and not part.path.is_dir():
        raise DataError(f"{part.path}: there is no such folder; check the path in '{part}'.")
    return LISTERS[part.kind](part)

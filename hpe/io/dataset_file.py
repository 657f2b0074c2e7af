"""dataset.json: what a folder of face crops says of itself."""

from __future__ import annotations

from pathlib import Path

from hpe.io.errors import FileError
from hpe.io.files import read_json

DATASET_FILE = "dataset.json"


def read_central_crop(folder: Path) -> float:
    """The `central_crop` of dataset.json: which central part of each picture is the crop; 1 where it does not say.

    FileError, which names the file, for an entry that makes no sense.
    """
    path = folder / DATASET_FILE
    if not path.exists():
        return 1.0
    try:
        central = read_json(path).get("central_crop", 1.0)
    except (ValueError, AttributeError, OSError) as error:
        raise FileError(f"{path}: is no JSON object ({error}); correct or remove it.") from None
    if isinstance(central, bool) or not isinstance(central, (int, float)) or not 0.25 <= central <= 1:
        raise FileError(f"{path}: central_crop is {central!r}; it must be a number from 0.25 to 1.")
    return float(central)


def central_crop_of(picture: Path) -> float:
    """That of the data set which a picture belongs to: the nearest folder above it with a dataset.json."""
    for folder in picture.absolute().parents:
        if (folder / DATASET_FILE).exists():
            return read_central_crop(folder)
    return 1.0

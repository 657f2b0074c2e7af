"""A card of a released model that nobody released."""

from typing import Any


def card(**changed: Any) -> dict[str, Any]:
    """A whole card of a model b0 that cannot be trained, with some values changed."""
    values: dict[str, Any] = {"name": "b0", "file": "b0.tflite", "format": "int8", "sha256": "", "size_bytes": 1}
    values |= {"gzip_bytes": 9, "params": 1, "nonzeros": 1, "macs": 2_500_000, "arena_bytes": 8, "boards": ["pi4"]}
    values |= {"mae_deg": {"mean": 3.0}, "geodesic_deg": 6.0, "n": 48, "data": "48 faces", "protocol": "MAE"}
    values |= {"float_mae_deg": {"mean": 2.9}, "float_data": "48 faces", "trained_on": "", "limits": ""}
    values |= {"provenance": "", "id": "abc", "config": {"command": "train"}, "parents": [], "environment": {}}
    return values | {"lineage": {"family": "dense"}, "checkpoint": None} | changed

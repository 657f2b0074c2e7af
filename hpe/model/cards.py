"""Cards of the released models: hpe/model/releases/NAME.json, what `hpe.deploy.release` measured or was told.

A card is one flat JSON object; the four dataclasses here say what is in it, and check it on reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpe.io.files import read_json
from hpe.io.records import from_json, known_part
from hpe.model.lineage import Lineage

FOLDER = Path(__file__).parent / "releases"


@dataclass(frozen=True)
class CardFile:
    """The file, and what it costs to keep and to run."""

    name: str
    """What the model is called."""
    file: str
    """Its file beside the card; gzipped where it ends in .gz."""
    format: str
    """int8, fp16, fp32, sparse, dynamic or int8_sparse."""
    sha256: str
    """Of the model itself, unpacked."""
    size_bytes: int
    """Likewise."""
    gzip_bytes: int
    """After gzip -9."""
    params: int
    """Parameters of the network."""
    nonzeros: int
    """Those that are not zero."""
    macs: int
    """Multiply-accumulates for an image."""
    arena_bytes: int | None
    """Memory on a microcontroller; None where the file is not full int8."""
    boards: list[str]
    """Boards that it fits."""


@dataclass(frozen=True)
class CardErrors:
    """Errors on test data."""

    mae_deg: dict[str, float]
    """Of the file: yaw, pitch, roll and their mean."""
    geodesic_deg: float
    """Of the file."""
    n: int
    """Faces."""
    data: str
    """The faces in words."""
    float_mae_deg: dict[str, float]
    """Of the network that the file was made from."""
    float_data: str
    """The faces on which that was measured, in words."""
    protocol: str
    """How both were measured."""


@dataclass(frozen=True)
class CardText:
    """What a user has to know."""

    trained_on: str
    """The training data in words."""
    limits: str
    """What the model is not for."""
    provenance: str
    """Whose pictures it learnt from."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights that training can start from."""

    folder: str
    """Their folder beside the card."""
    sha256: str
    """Of model.safetensors."""
    size_bytes: int
    """Of model.safetensors."""


@dataclass(frozen=True)
class CardOrigin:
    """How the model was made."""

    id: str
    """Of its run."""
    config: dict[str, Any]
    """What was asked for in its run (`hpe.deploy.recipe` says and checks what is in it)."""
    parents: list[dict[str, Any]]
    """The same of the runs it came from, the first one first."""
    lineage: Lineage
    """How it was pruned, and the ids of those runs."""
    environment: dict[str, str | int]
    """Where it was measured."""
    checkpoint: Checkpoint | None
    """None where it can only be run."""


PARTS = (CardFile, CardErrors, CardText, CardOrigin)


def cards(folder: Path | None = None) -> dict[str, dict[str, Any]]:
    """The card of every released model by name, the largest file first."""
    found = [read_card(path) for path in (folder or FOLDER).glob("*.json")]
    return {card["name"]: card for card in sorted(found, key=lambda card: (-card["size_bytes"], card["name"]))}


def read_card(path: Path) -> dict[str, Any]:
    """One card, checked: RecordError names what is missing in it or of a wrong type."""
    card = read_json(path)
    for part in PARTS:
        from_json(part, known_part(part, card), str(path))
    return card

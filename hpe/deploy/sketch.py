"""`hpe deploy`: the Arduino sketch of a model, with what it needs to know of the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpe.deploy.export import model_metadata
from hpe.io.errors import ConfigError
from hpe.io.files import read_json
from hpe.model.outputs import LARGEST_LOG_SIZE, LARGEST_SHIFT, PLACE, PLACE_UNIT, POSE, SCORE_UNIT, output_names
from hpe.model.preprocess import MEAN, STD
from hpe.model.zoo import released_card, resolve_file
from hpe.pose.metrics import ANGLES

if TYPE_CHECKING:
    from export.compiler import Limits


@dataclass(frozen=True)
class Deployed:
    """What `hpe deploy` wrote."""

    files: list[Path]
    notes: list[str]
    """What to know of the sketch."""


def run_deploy(
    model: str | Path, out: Path, board: str, engine: str, labels: Path | None = None, limits: Limits | None = None
) -> Deployed:
    """Write the Arduino sketch of an int8 file into `out`; its measured errors go into the sketch as a note.

    A head-pose net is a released one, or one whose metadata name yaw, pitch and roll; any other gets a sketch that
    prints its outputs, or the label of the highest one where a file of `labels` is given.

    Raises:
        ConfigError: for labels of a head-pose net, and for metadata that say too little.
    """
    from export.compiler import Limits
    from export.convert.tflite import read_metadata
    from export.micro.sketch import write_arduino, write_model_sketch

    limits = limits or Limits()
    settings, model = pose_net_settings(model), resolve_file(model)
    if settings is None:
        settings = _plain_settings(model, read_metadata(model)) | ({} if labels is None else {"labels": labels})
        note = f"{_metadata_name(model)} names no yaw, pitch and roll as outputs: the sketch is none for head poses"
        return Deployed(write_model_sketch(model, out, board, settings, engine, limits), [note])
    if labels is not None:
        raise ConfigError(f"--labels {labels}: {model} is a head-pose net, whose sketch prints angles; leave it out")
    return Deployed(write_arduino(model, out, board, settings, engine, limits), [])


def pose_net_settings(model: str | Path) -> dict[str, Any] | None:
    """How a head-pose net (a run, a file or a released name) is fed and read; None for a net of another kind.

    With "place" where it also says where the face is, and with its measured errors as "note". ConfigError for metadata
    that say too little.
    """
    from export.convert.tflite import read_metadata

    card, file = released_card(model), resolve_file(model)
    metadata = {} if card is not None else read_metadata(file)
    if card is None and not _names_angles(metadata):
        return None
    settings = _released_settings(file) if card is not None else _settings_of(file, metadata)
    result = file.parent / "result.json"
    evaluations = read_json(result).get("evaluations", {}) if result.exists() else {}
    measured = [e for e in evaluations.values() if e["file"] == file.name] + ([] if card is None else [card])
    notes = [f"{e['mae_deg']['mean']:.2f} deg on {e['data']}" for e in measured]
    return settings | ({"note": "Mean absolute error: " + "; ".join(notes)} if notes else {})


def _names_angles(metadata: Mapping[str, Any]) -> bool:
    """Whether a model's metadata say that its outputs are yaw, pitch and roll."""
    output = metadata.get("output")
    order = output.get("order") if isinstance(output, dict) else None
    return isinstance(order, list) and sorted(map(str, order)) == sorted(ANGLES)


def _metadata_name(model: Path) -> Path:
    return model.with_suffix(".json")


def _released_settings(model: Path) -> dict[str, Any]:
    """How a released model is fed and read: as every network of this project."""
    from export.micro.flatbuffer import read_model

    further = output_names(read_model(model).output.elements)[POSE:]
    settings = {"mean": MEAN.tolist(), "std": STD.tolist(), "pose_order": list(ANGLES), "units": "degrees"}
    return settings | _place_settings(further)


def _place_settings(further: list[str]) -> dict[str, Any]:
    """How a network that locates says where the face is; nothing for one whose `further` outputs do not."""
    place = output_names(POSE + PLACE)[POSE:]
    if further[:PLACE] != place:
        return {}
    units = {"place_unit": PLACE_UNIT, "score_unit": SCORE_UNIT}
    return {"place": {"first": POSE, **units, "largest_shift": LARGEST_SHIFT, "largest_log_size": LARGEST_LOG_SIZE}}


def _settings_of(model: Path, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """How the metadata beside a head-pose net say that it is fed and read."""
    try:
        output = metadata["output"]
        settings = _normalisation(metadata) | {"pose_order": output["order"], "units": output["unit"]}
        return settings | _place_settings(list(output.get("further", [])))
    except (KeyError, TypeError):
        kept = {key: value for key, value in model_metadata("").items() if key in ("normalisation", "output")}
        raise ConfigError(
            f"{_metadata_name(model)}: does not say how the model is fed and read. `hpe export` writes such a file; "
            f"for a network of your own write one, for instance: {json.dumps(kept)}"
        ) from None


def _plain_settings(model: Path, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """How any other net is fed: as an image where its metadata have a normalisation."""
    if "normalisation" not in metadata:
        return {}
    try:
        return _normalisation(metadata)
    except (KeyError, TypeError):
        raise ConfigError(
            f"{_metadata_name(model)}: its normalisation needs mean and std, a number for each channel"
        ) from None


def _normalisation(metadata: Mapping[str, Any]) -> dict[str, Any]:
    normalisation = metadata["normalisation"]
    return {"mean": normalisation["mean"], "std": normalisation["std"]}

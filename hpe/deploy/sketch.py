"""`hpe deploy`: the Arduino sketch of a model, with what it needs to know of the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hpe.deploy.export import model_metadata
from hpe.io.errors import ConfigError
from hpe.io.files import read_json
from hpe.model.preprocess import MEAN, STD
from hpe.model.zoo import released_card, resolve_model
from hpe.pose.metrics import ANGLES


def run_deploy(model: str | Path, out: Path, board: str, engine: str) -> list[Path]:
    """Write the Arduino sketch of an int8 file into `out`; its measured errors go into the sketch as a note.

    Raises:
        ConfigError: for a file that was not released here and has no metadata beside it.
    """
    from export.micro.sketch import write_arduino

    card, model = released_card(model), resolve_model(model)
    settings = _released_settings() if card is not None else _settings_of(model)
    result = model.parent / "result.json"
    evaluations = read_json(result).get("evaluations", {}) if result.exists() else {}
    measured = [e for e in evaluations.values() if e["file"] == model.name] + ([] if card is None else [card])
    notes = [f"{e['mae_deg']['mean']:.2f} deg on {e['data']}" for e in measured]
    if notes:
        settings["note"] = "Mean absolute error: " + "; ".join(notes)
    return write_arduino(model, out, board, settings, engine)


def _released_settings() -> dict[str, Any]:
    """How a released model is fed and read: as every network of this project."""
    return {"mean": MEAN.tolist(), "std": STD.tolist(), "pose_order": list(ANGLES), "units": "degrees"}


def _settings_of(model: Path) -> dict[str, Any]:
    """How the metadata beside a model file say that it is fed and read."""
    from export.convert.tflite import read_metadata

    metadata = read_metadata(model)
    try:
        normalisation, output = metadata["normalisation"], metadata["output"]
        settings = {"mean": normalisation["mean"], "std": normalisation["std"]}
        return settings | {"pose_order": output["order"], "units": output["unit"]}
    except (KeyError, TypeError):
        kept = {key: value for key, value in model_metadata("").items() if key in ("normalisation", "output")}
        raise ConfigError(
            f"{model}: no {model.with_suffix('.json').name} beside it that says how the model is fed and read. "
            f"`hpe export` writes one; for a network of your own write such a file, for instance: {json.dumps(kept)}"
        ) from None

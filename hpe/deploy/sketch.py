"""`hpe deploy`: the Arduino sketch of a model, with what it needs to know of the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpe.io.files import read_json
from hpe.model.preprocess import MEAN, STD
from hpe.model.zoo import released_card, resolve_model
from hpe.pose.metrics import ANGLES


def run_deploy(model: str | Path, out: Path, board: str) -> list[Path]:
    """Write the Arduino sketch of an int8 file into `out`; its measured errors go into the sketch as a note."""
    from export.micro.sketch import write_arduino

    card, model = released_card(model), resolve_model(model)
    settings: dict[str, Any] = {"mean": MEAN.tolist(), "std": STD.tolist(), "pose_order": list(ANGLES)}
    settings["units"] = "degrees"
    result = model.parent / "result.json"
    evaluations = read_json(result).get("evaluations", {}) if result.exists() else {}
    measured = [e for e in evaluations.values() if e["file"] == model.name] + ([] if card is None else [card])
    notes = [f"{e['mae_deg']['mean']:.2f} deg on {e['data']}" for e in measured]
    if notes:
        settings["note"] = "Mean absolute error: " + "; ".join(notes)
    return write_arduino(model, out, board, settings)

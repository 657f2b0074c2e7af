"""The steps behind the commands once a network is trained (`hpe.training.runs`): export, evaluate, look at, deploy.

RUN/model*.tflite      after `run_export`, with model.onnx
RUN/result.json        what was measured, by every step
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpe.deploy.evaluate import ANGLES, PoseMetrics, evaluate
from hpe.inference.predictor import load_predictor
from hpe.io.files import merge_result, read_json, write_json, write_whole
from hpe.model.preprocess import IMAGE_SIZE, MEAN, STD, centre_crop, preprocess
from hpe.model.zoo import cards, resolve_model
from hpe.training.config import ConfigError

if TYPE_CHECKING:
    from hpe.data.faces import Faces

CALIBRATION_SAMPLES = 200
CALIBRATION_BALANCE = 2.0
"""How much likelier rare poses are to be among them (`hpe.data.sampling`): a range that never saw one clips it."""
PARITY_SAMPLES = 64
QUANTISED_TOLERANCE_DEG = 12.0
"""Mean deviation from torch at which an export fails: about what guessing the median pose costs."""
WORRYING_DEG = 1.0
"""Mean deviation above which the export says what may help."""
EXACT_TOLERANCE_DEG = 0.05
"""Mean deviation from torch that is allowed where nothing is quantised: ONNX, fp32, sparse."""


def run_export(
    run: Path,
    calibration: str | None = None,
    formats: Sequence[str] = ("fp32", "int8"),
    tolerance_deg: float = QUANTISED_TOLERANCE_DEG,
    report: Callable[[str], None] = print,
    out: Path | None = None,
) -> dict[str, Path]:
    """Write model.onnx and model_FORMAT.tflite into the run folder, or into `out`. Returns files by format.

    Sizes and parity go into the result.json there. A shipped model has no folder to write to and knows no data: it
    needs `out` and `calibration`.

    `calibration` is the data SPEC whose images set the int8 ranges (default: what the run was trained on). Every file
    is compared with torch on 64 of them; one that strays by more than `tolerance_deg` degrees in the mean (0.05 where
    nothing is quantised) raises ParityError, with the evidence in parity.json.
    """
    from export.convert.onnx import export_onnx
    from export.convert.tflite import FORMATS, convert, file_sizes, write_metadata
    from export.run.parity import check_int8_graph, check_parity
    from hpe.model.net import example_input, fold_output_scale, load_model
    from hpe.training.loop import predict_all

    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ConfigError(f"--formats {','.join(formats)}: choose from {','.join(FORMATS)}")
    network = fold_output_scale(load_model(run))
    if not run.exists() and (out is None or calibration is None):  # the name of a shipped model
        raise ConfigError(f"{run} ships with the package; say where to write with --out, and give --calibration SPEC")
    spec = calibration or read_json(run / "config.json")["data"]
    report(f"exporting {run} to ONNX and TFLite ({', '.join(formats)})")
    if out is not None:
        _note_origin(run, out)
        run = out
    crops = random_crops(_load(spec, skip_bad=True), CALIBRATION_SAMPLES, CALIBRATION_BALANCE)
    onnx = export_onnx(network, example_input(), run / "model.onnx")
    files = {"onnx": onnx, **convert(onnx, run, formats=tuple(formats), calibration=preprocess(crops))}
    merge_result(run, "files", {path.name: {"format": name, **file_sizes(path)} for name, path in files.items()})
    for path in files.values():
        write_metadata(path, model_metadata(spec))
    if "int8" in files:
        check_int8_graph(files["int8"])
    allowed = {name: EXACT_TOLERANCE_DEG if name in ("onnx", "fp32", "sparse") else tolerance_deg for name in files}
    crops = crops[:PARITY_SAMPLES]
    parity = check_parity(files, preprocess(crops), predict_all(network, crops), allowed, run)
    entries = {files[name].name: {"mean_deg": d.mean, "max_deg": d.max, "n": d.n} for name, d in parity.items()}
    merge_result(run, "parity", entries)
    for name, deviation in parity.items():
        if deviation.mean > WORRYING_DEG:
            advice = "" if network.config.act == "relu6" else "; --act relu6 loses least in int8"
            report(f"warning: {name} strays from torch by {deviation.mean:.1f} deg in the mean; train longer{advice}")
    if "int8" in files:
        report_target_board(run, files["int8"], report)
    return files


def report_target_board(run: Path, file: Path, report: Callable[[str], None]) -> None:
    """Where a net was pruned for a board, say whether the int8 file fits it: only a file tells operators and arena."""
    from export.micro.footprint import fit

    board = read_json(run / "result.json")["config"].get("prune", {}).get("target_board")
    if board is None:
        return
    answer = fit(file, board)
    for line in (f"{file} {answer.verdict}", *(f"- {advice}" for advice in answer.advice)):
        report(line)


def _note_origin(run: Path, out: Path) -> None:
    """Begin OUT/result.json with what is known of the run, or shipped model, that is exported there."""
    facts = read_json(run / "result.json") if run.exists() else cards()[str(run)]
    begun = read_json(out / "result.json") if (out / "result.json").exists() else {"id": facts["id"]}
    if begun.get("id") != facts["id"]:
        raise ConfigError(f"--out {out}: holds another run; give another folder")
    write_json(out / "result.json", begun | {k: facts[k] for k in ("config", "params", "nonzeros", "macs")})


def _load(spec: str, skip_bad: bool = False) -> Faces:
    from hpe.data.faces import load_faces

    return load_faces(spec, skip_bad=skip_bad)


def random_crops(faces: Faces, count: int, balance: float = 0.0) -> np.ndarray:
    """Standard crops uint8 (count, 64, 64, 3) of faces chosen at random, fewer where there are fewer.

    With `balance` above 0 rare poses are likelier (`hpe.data.sampling.pose_weights`). The same faces each time.
    """
    import torch

    from hpe.data.sampling import pose_weights

    weights = pose_weights(torch.from_numpy(np.array(faces.pose_deg)), balance).double().numpy()  # (N,)
    draw = np.random.default_rng(0).choice
    chosen = draw(len(faces), min(count, len(faces)), replace=False, p=weights / weights.sum())
    return centre_crop(faces.images)[np.sort(chosen)]


def model_metadata(calibration: str) -> dict[str, Any]:
    """What a program needs to know to feed a model file and to read its output."""
    return {
        "input": {"height": IMAGE_SIZE, "width": IMAGE_SIZE, "channels": "RGB", "crop": "k = 0.2 around the face box"},
        "normalisation": {"pixels": "0..1", "mean": MEAN.tolist(), "std": STD.tolist()},
        "output": {"order": ["yaw", "pitch", "roll"], "unit": "degrees", "convention": "300W-LP Pose_Para"},
        "calibration": calibration,
    }


def with_split(spec: str, split: str | None) -> str:
    """`spec` with `@split` behind every part that names none."""
    if split is None:
        return spec
    return "+".join(part if "@" in part else f"{part}@{split}" for part in spec.split("+"))


def run_evaluate(model: str | Path, data: str, split: str | None = None, skip_bad: bool = False) -> PoseMetrics:
    """Errors of a run, model file or shipped model on a data SPEC; noted in the result.json of its run, if any."""
    spec, model = with_split(data, split), resolve_model(model)
    predict = load_predictor(model)
    metrics = evaluate(predict, _load(spec, skip_bad))
    run = model if model.is_dir() else model.parent
    if (run / "result.json").exists():
        name = "model.safetensors" if model.is_dir() else model.name
        merge_result(run, "evaluations", {f"{name} on {spec}": {"file": name, "data": spec, **metrics.to_dict()}})
    return metrics


def run_preview(data: str, out: Path, count: int = 64, skip_bad: bool = False) -> int:
    """Draw `count` faces, evenly taken, with their labels as axes into the picture `out`; returns how many."""
    from hpe.pose.overlay import contact_sheet

    faces = _load(data, skip_bad)
    chosen = np.unique(np.linspace(0, len(faces) - 1, max(1, count)).round().astype(int))
    sheet = contact_sheet(centre_crop(faces.images[chosen]), faces.pose_deg[chosen])
    write_whole(out, sheet.save)
    return len(chosen)


def run_deploy(model: str | Path, out: Path, board: str) -> list[Path]:
    """Write the Arduino sketch of an int8 file into `out`; its measured errors go into the sketch as a note."""
    from export.micro.sketch import write_arduino

    card, model = cards().get(str(model)), resolve_model(model)

    settings: dict[str, Any] = {"mean": MEAN.tolist(), "std": STD.tolist(), "pose_order": list(ANGLES)}
    settings["units"] = "degrees"
    result = model.parent / "result.json"
    evaluations = read_json(result).get("evaluations", {}) if result.exists() else {}
    measured = [e for e in evaluations.values() if e["file"] == model.name] + ([] if card is None else [card])
    notes = [f"{e['mae_deg']['mean']:.2f} deg on {e['data']}" for e in measured]
    if notes:
        settings["note"] = "Mean absolute error: " + "; ".join(notes)
    return write_arduino(model, out, board, settings)

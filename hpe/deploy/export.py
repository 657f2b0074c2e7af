"""`hpe export`: a run -> model.onnx and model_FORMAT.tflite, checked against torch; sizes and parity in result.json."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hpe.data.faces import load_faces
from hpe.deploy.learnt import learnt_ranges
from hpe.deploy.samples import CALIBRATION_BALANCE, CALIBRATION_SAMPLES, PARITY_SAMPLES, random_crops
from hpe.io.errors import ConfigError
from hpe.io.files import merge_result, read_json, write_json
from hpe.io.records import read_record
from hpe.model.lineage import RunConfig, RunOrigin
from hpe.model.preprocess import MEAN, STD, preprocess
from hpe.model.zoo import released_card
from hpe.pose.crop import IMAGE_SIZE

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

    Sizes and parity go into the result.json there. A released model has no folder to write to and knows no data: it
    needs `out` and `calibration`.

    `calibration` is the data SPEC whose images set the int8 ranges (default: what the run was trained on). Every file
    is compared with torch on 64 of them; one that strays by more than `tolerance_deg` degrees in the mean (0.05 where
    nothing is quantised) raises ParityError, with the evidence in parity.json.
    """
    from export.convert.onnx import export_onnx
    from export.convert.tflite import FORMATS, convert, file_sizes, write_metadata
    from export.run.parity import check_int8_graph, check_parity
    from hpe.model.net import example_input, fold_output_scale, load_model, predict_all

    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ConfigError(f"--formats {','.join(formats)}: choose from {','.join(FORMATS)}")
    network = fold_output_scale(load_model(run))
    if released_card(run) is not None and (out is None or calibration is None):
        raise ConfigError(f"{run} is a released model; say where to write with --out, and give --calibration SPEC")
    spec = calibration or read_record(RunConfig, run / "config.json").data
    if spec is None:
        raise ConfigError(f"{run}: its config.json names no training data; give --calibration SPEC")
    report(f"exporting {run} to ONNX and TFLite ({', '.join(formats)})")
    crops = random_crops(load_faces(spec, skip_bad=True), CALIBRATION_SAMPLES, CALIBRATION_BALANCE)
    ranges = learnt_ranges(run, crops) if any(name.startswith("int8") for name in formats) else None
    if out is not None:
        _note_origin(run, out)
        run = out
    onnx = export_onnx(network, example_input(), run / "model.onnx")
    samples = preprocess(crops)
    files = {"onnx": onnx, **convert(onnx, run, tuple(formats), samples, ranges=ranges)}
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

    board = read_record(RunOrigin, run / "result.json").config.lineage.target.get("board")
    if board is None:
        return
    answer = fit(file, str(board))
    for line in (f"{file} {answer.verdict}", *(f"- {advice}" for advice in answer.advice)):
        report(line)


def _note_origin(run: Path, out: Path) -> None:
    """Begin OUT/result.json with what is known of the run, or released model, that is exported there."""
    card = released_card(run)
    facts = read_json(run / "result.json") if card is None else card
    config = facts["config"] if card is None else {**card["config"], "lineage": card["lineage"]}
    begun = read_json(out / "result.json") if (out / "result.json").exists() else {"id": facts["id"]}
    if begun.get("id") != facts["id"]:
        raise ConfigError(f"--out {out}: holds another run; give another folder")
    write_json(out / "result.json", begun | {"config": config} | {k: facts[k] for k in ("params", "nonzeros", "macs")})


def model_metadata(calibration: str) -> dict[str, Any]:
    """What a program needs to know to feed a model file and to read its output."""
    return {
        "input": {"height": IMAGE_SIZE, "width": IMAGE_SIZE, "channels": "RGB", "crop": "k = 0.2 around the face box"},
        "normalisation": {"pixels": "0..1", "mean": MEAN.tolist(), "std": STD.tolist()},
        "output": {"order": ["yaw", "pitch", "roll"], "unit": "degrees", "convention": "300W-LP Pose_Para"},
        "calibration": calibration,
    }

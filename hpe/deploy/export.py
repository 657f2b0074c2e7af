"""`hpe export`: a run -> model.onnx and model_FORMAT.tflite, checked against torch; sizes and parity in result.json."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.files import work_folder
from hpe.deploy.learnt import known_ranges
from hpe.deploy.samples import Samples, export_samples
from hpe.deploy.target import report_target
from hpe.io.errors import ConfigError
from hpe.io.files import locked, merge_result, read_json, write_json
from hpe.io.records import read_record
from hpe.model.lineage import RunConfig
from hpe.model.outputs import POSE, output_names, output_parts
from hpe.model.preprocess import MEAN, STD, preprocess
from hpe.model.zoo import INT8, digest, released_card
from hpe.pose.crop import IMAGE_SIZE

if TYPE_CHECKING:
    from export.convert.tflite import Conversion, KnownRange

Report = Callable[[str], None]
QUANTISED_TOLERANCE_DEG = 1.0
"""Mean deviation from torch at which a quantised file is refused; nets with ReLU6 deviate by 0.6 to 0.8 in int8."""
EXACT_TOLERANCE_DEG = 0.05
"""Mean deviation from torch that is allowed where nothing is quantised: ONNX, fp32, sparse."""
OUTPUT_ROOM = 0.02
"""The int8 output reaches beyond all labels and outputs that were seen by this share of their range, on both sides."""
PLACE_ROOM = 90.0
"""Where the network locates, the int8 output holds at least this much on both sides (a shift of 0.3 of the crop, a size
of 1.35): the faces that calibrate lie where they should, those of a rough box do not."""
MEASURED: dict[str, Callable[[str, Any], str]] = {
    "evaluations": lambda _, entry: entry["file"],
    "latency": lambda name, _: name,
    "predictions": lambda name, _: name,
    "footprint": lambda *_: INT8,
}
"""Sections of result.json that hold what was measured of files, and of which file an entry is."""
EXACT_FORMATS = ("onnx", "fp32", "sparse")


@dataclass(frozen=True)
class ExportJob:
    """One network to export."""

    run: Path
    """Folder of a finished run, or the name of a released model."""
    calibration: str | None = None
    """The data SPEC whose images set the int8 ranges; None: what the run was trained on."""
    out: Path | None = None
    """Where the files go; None: into the run folder. A released model has none and knows no data: it needs both."""


def run_export(
    run: Path,
    calibration: str | None = None,
    formats: Sequence[str] = ("fp32", "int8"),
    tolerance_deg: float = QUANTISED_TOLERANCE_DEG,
    report: Report = print,
    out: Path | None = None,
) -> dict[str, Path]:
    """Write model.onnx and model_FORMAT.tflite into the run folder, or into `out`. Returns files by format."""
    (files,) = export_all([ExportJob(run, calibration, out)], formats, tolerance_deg, report)
    return files


def export_all(
    jobs: Sequence[ExportJob],
    formats: Sequence[str] = ("fp32", "int8"),
    tolerance_deg: float = QUANTISED_TOLERANCE_DEG,
    report: Report = print,
) -> list[dict[str, Path]]:
    """Export several networks, with TensorFlow started once. Returns files by format for each.

    Every file is compared with torch on 64 images that did not calibrate it, spread over all sources of the data. One
    that deviates by more than `tolerance_deg` degrees in the mean (0.05 where nothing is quantised) is not kept, what
    was there before stays, and ParityError is raised, with the evidence in parity.json; the others are kept. Sizes and
    parity of what is kept go into the result.json there.
    """
    from export.convert.tflite import FORMATS, ConversionError, convert_all
    from export.errors import ExportError

    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ConfigError(f"--formats {','.join(formats)}: choose from {','.join(FORMATS)}")
    errors: list[ExportError] = []
    with ExitStack() as stack:
        traced = [_trace(job, stack, report) for job in jobs]
        try:
            converted = convert_all([one.conversion(formats) for one in traced])
        except ConversionError as error:
            errors.append(error)
            converted = error.files
        finished = []
        for one, files in zip(traced, converted, strict=True):
            try:
                finished.append(_finish(one, files, tolerance_deg, report) if files else {})
            except ExportError as error:
                errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExportError("\n".join(map(str, errors)))
    return finished


@dataclass(frozen=True, eq=False)
class _Traced:
    """A network as ONNX, in a working folder, with what its files are compared with."""

    target: Path
    onnx: Path
    spec: str
    samples: Samples
    expected: np.ndarray
    """torch's outputs of the parity samples, (M, K)."""
    act: str
    ranges: list[KnownRange] | None
    """int8 ranges from quantisation-aware training; None: the calibration sets them."""
    output_range: tuple[float, float] | None
    """What the int8 output holds."""

    def conversion(self, formats: Sequence[str]) -> Conversion:
        from export.convert.tflite import Conversion

        return Conversion(
            self.onnx,
            self.onnx.parent,
            tuple(formats),
            preprocess(self.samples.calibration),
            output_range=self.output_range,
            ranges=self.ranges,
            log_dir=self.target,
        )


def _trace(job: ExportJob, stack: ExitStack, report: Report) -> _Traced:
    """Write the ONNX file, in a folder that goes with `stack`."""
    from export.convert.onnx import export_onnx
    from hpe.model.net import example_input, fold_output_scale, load_model, outputs_of

    run = job.run
    if released_card(run) is not None and (job.out is None or job.calibration is None):
        raise ConfigError(f"{run} is a released model; say where to write with --out, and give --calibration SPEC")
    network = fold_output_scale(load_model(run))
    spec = job.calibration or read_record(RunConfig, run / "config.json").data
    if spec is None:
        raise ConfigError(f"{run}: its config.json names no training data; give --calibration SPEC")
    report(f"exporting {run}")
    target = job.out or run
    if job.out is not None:
        _note_origin(run, job.out)
    samples = export_samples(spec)
    if not len(samples.parity):
        report(f"warning: {spec} has too few faces to keep some apart; files are compared on those that calibrate them")
        samples = replace(samples, parity=samples.calibration)
    folder = stack.enter_context(work_folder(target, "export"))
    onnx = export_onnx(network, example_input(), folder / "model.onnx")
    expected, ranges = outputs_of(network, samples.parity), known_ranges(run, samples.calibration)
    output_range = _output_range(samples.pose_range_deg, outputs_of(network, samples.calibration))
    return _Traced(target, onnx, spec, samples, expected, network.config.act, ranges, output_range)


def _output_range(pose_range_deg: tuple[float, float], outputs: np.ndarray) -> tuple[float, float] | None:
    """What the int8 output holds: the angles of all labels, so that rare poses do not saturate, torch's outputs (N, K)
    of the faces that calibrate, and places, with some room. None where there is nothing between."""
    low, high = min(pose_range_deg[0], float(outputs.min())), max(pose_range_deg[1], float(outputs.max()))
    if output_parts(outputs.shape[1])[0]:
        low, high = min(low, -PLACE_ROOM), max(high, PLACE_ROOM)
    room = OUTPUT_ROOM * (high - low)
    return (low - room, high + room) if high > low else None


def _finish(one: _Traced, converted: Mapping[str, Path], tolerance_deg: float, report: Report) -> dict[str, Path]:
    """Check the files of one network, move those that pass to their place and note them in its result.json."""
    from export.convert.tflite import conversion_answer
    from export.run.parity import ParityError, check_int8_graph, check_parity
    from export.run.xnnpack import sparse_speed

    made = {"onnx": one.onnx, **converted}
    if "int8" in made:
        check_int8_graph(made["int8"])
    allowed = {name: EXACT_TOLERANCE_DEG if name in EXACT_FORMATS else tolerance_deg for name in made}
    refused = None
    try:
        parity = check_parity(made, preprocess(one.samples.parity), one.expected, allowed, one.target)
    except ParityError as error:
        refused, parity = error, {name: d for name, d in error.deviations.items() if name not in error.failed}
    files = _keep({name: made[name] for name in parity}, one)
    entries = {files[name].name: {"mean_deg": d.mean, "max_deg": d.max, "n": d.n} for name, d in parity.items()}
    speeds = {name: sparse_speed(path) for name, path in files.items() if path.suffix == ".tflite"}
    for name, speed in speeds.items():
        entries[files[name].name]["sparse_kernels"] = {"engage": speed.engages, "reason": speed.reason}
    note = conversion_answer(one.conversion(["int8"])).get("calibration") if "int8" in files else None
    if note is not None:
        entries[files["int8"].name]["ranges"] = note
        report(f"{files['int8'].name}: {_told(note)}")
    merge_result(one.target, "parity", entries)
    if refused is not None:
        kept = f" Kept: {', '.join(files)}." if files else ""
        message = f"{one.target}: {refused}{kept} {_advice(refused, one.act)}"
        raise ParityError(message, refused.deviations, refused.failed) from None
    for name, deviation in parity.items():
        if deviation.mean > QUANTISED_TOLERANCE_DEG:
            report(f"warning: {name} deviates from torch by {deviation.mean:.1f} deg in the mean")
    told = next((name for name in ("sparse", "fp32", "int8") if name in speeds), None)
    if told is not None and speeds[told].line:
        report(f"{files[told].name}: {speeds[told].line}")
    if "int8" in files:
        report_target(one.target, files["int8"], report)
    return files


def _told(ranges: Mapping[str, Any]) -> str:
    """In words, what the int8 ranges are from."""
    low, high = ranges["output_range"]
    calibrated = f"hold the quantile {ranges['range_quantile']:g} of {ranges['samples']} faces"
    text = f"activations {calibrated}"
    if "known" in ranges:
        text = f"{ranges['known']} activations hold what training learnt, {ranges['unknown']} {calibrated}"
    if "deviation" in ranges:
        tried = ", ".join(f"{float(rule):g}: {deg:.2f}" for rule, deg in ranges["deviation"].items())
        text += f" (deg from float on faces that set no range, by quantile: {tried})"
    return f"{text}; its output {low:.0f} to {high:.0f} deg in steps of {(high - low) / 255:.2f}"


def _keep(made: Mapping[str, Path], one: _Traced) -> dict[str, Path]:
    """Move files that passed their checks to their place, with metadata beside them and sizes in result.json."""
    from export.convert.tflite import file_sizes, write_metadata

    files = {name: one.target / path.name for name, path in made.items()}
    facts = {path.name: {"format": name, "sha256": digest(path), **file_sizes(path)} for name, path in made.items()}
    _forget_others(one.target, facts)
    for name, path in files.items():
        os.replace(made[name], path)
        write_metadata(path, model_metadata(one.spec, one.expected.shape[1]))
    merge_result(one.target, "files", facts)
    return files


def _forget_others(target: Path, facts: Mapping[str, Mapping[str, Any]]) -> None:
    """Take out of result.json what was measured of files of these names that held something else."""
    path = target / "result.json"
    if not path.exists():
        return
    with locked(target):
        result = read_json(path)
        known = {name: entry.get("sha256") for name, entry in result.get("files", {}).items()}
        others = {name for name, fact in facts.items() if known.get(name) != fact["sha256"]}
        for section, file_of in MEASURED.items():
            if section in result:
                entries = result[section].items()
                result[section] = {name: entry for name, entry in entries if file_of(name, entry) not in others}
        write_json(path, result)


def _advice(refused: Any, act: str) -> str:
    """What to do about files that deviate too far."""
    quantised = [refused.deviations[name].mean for name in refused.failed if name not in EXACT_FORMATS]
    if not quantised or not np.isfinite(max(quantised)):
        return "This is a defect of the export or of the network; please report it."
    least = "" if act == "relu6" else ", or train with --act relu6, which loses least in int8"
    return (
        f"Train longer, fine-tune with `hpe finetune --qat`{least}; --tolerance-deg {max(quantised) + 0.05:.1f} "
        f"accepts the files as they are."
    )


def _note_origin(run: Path, out: Path) -> None:
    """Begin OUT/result.json with what is known of the run, or released model, that is exported there."""
    card = released_card(run)
    facts = read_json(run / "result.json") if card is None else card
    config = facts["config"] if card is None else {**card["config"], "lineage": card["lineage"]}
    begun = read_json(out / "result.json") if (out / "result.json").exists() else {"id": facts["id"]}
    if begun.get("id") != facts["id"]:
        raise ConfigError(f"--out {out}: holds another run; give another folder")
    write_json(out / "result.json", begun | {"config": config} | {k: facts[k] for k in ("params", "nonzeros", "macs")})


def model_metadata(calibration: str, outputs: int = POSE) -> dict[str, Any]:
    """What a program needs to know to feed a model file and to read its outputs, of which the first are the angles."""
    further = {} if outputs == POSE else {"further": output_names(outputs)[POSE:]}
    return {
        "input": {"height": IMAGE_SIZE, "width": IMAGE_SIZE, "channels": "RGB", "crop": "k = 0.2 around the face box"},
        "normalisation": {"pixels": "0..1", "mean": MEAN.tolist(), "std": STD.tolist()},
        "output": {"order": ["yaw", "pitch", "roll"], "unit": "degrees", "convention": "300W-LP Pose_Para", **further},
        "calibration": calibration,
    }

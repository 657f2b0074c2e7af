"""An ONNX file -> TensorFlow Lite files in every form, through a child process (export/convert/worker.py)."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.convert.rewrite import dense_as_convolutions, strip_names
from export.errors import ExportError
from export.files import work_folder, write_all, write_json
from export.process import command

FORMATS = ("fp32", "fp16", "sparse", "dynamic", "dynamic_sparse", "int8", "int8_sparse")
INT8_FORMATS = ("int8", "int8_sparse")
KnownRange = tuple[np.ndarray, float, float]
"""Of one activation: float32 (n, ...) values that the float network has there for the first n calibration samples, by
which a tensor of the file is recognised whatever its name and layout; and the lowest and highest that int8 holds."""
WORKER = Path(__file__).with_name("worker.py")


class ConversionError(ExportError):
    """Some models could not be converted; `files` has those of the others, and {} for each that failed."""

    def __init__(self, message: str, files: list[dict[str, Path]]) -> None:
        super().__init__(message)
        self.files = files


@dataclass(frozen=True, eq=False)
class Conversion:
    """One ONNX file and what to make of it."""

    onnx: Path
    """The file, as export_onnx writes it: one float (1, C, H, W) input."""
    out_dir: Path
    """Where STEM_FORMAT.tflite go; created where absent."""
    formats: tuple[str, ...] = ("fp32", "int8")
    """Some of FORMATS."""
    calibration: np.ndarray | None = None
    """float32 (N, H, W, C), normalised as in training; needed for int8, 100 or more samples. A dynamic-range
    file where masks have left channels without inputs is more exact with some."""
    range_quantile: float | None = None
    """int8 ranges reach to this quantile, over the samples, of each sample's lowest and highest value; those of input
    and output to all. 1.0 is min-max, which a few odd samples can spoil. None: the one of four whose int8 output is
    nearest to the float one on samples that set no range."""
    output_range: tuple[float, float] | None = None
    """Lowest and highest value that the int8 output holds, from what is known of it (its labels); None: of the
    calibration samples. Values beyond saturate; a wider range has coarser steps."""
    ranges: Sequence[KnownRange] | None = None
    """int8 ranges that training has learnt (`pruning.learnt_activations`), instead of calibrated ones."""
    log_dir: Path | None = None
    """Where STEM_convert.log goes: the converter's messages, times and peak memory. None: into out_dir."""

    @property
    def log(self) -> Path:
        return (self.log_dir or self.out_dir) / f"{self.onnx.stem}_convert.log"


def convert(
    onnx_path: str | Path,
    out_dir: str | Path,
    formats: Sequence[str] = ("fp32", "int8"),
    calibration: np.ndarray | None = None,
    timeout_s: float = 600.0,
    range_quantile: float | None = None,
    ranges: Sequence[KnownRange] | None = None,
) -> dict[str, Path]:
    """Convert ONNX (one float (1, C, H, W) input) to TensorFlow Lite (1, H, W, C) files out_dir/STEM_FORMAT.tflite.

    Formats: fp32; fp16 (weights); sparse (fp32, tensors with many zeros stored compressed); dynamic (int8 weights,
    float activations: dynamic range); dynamic_sparse; int8 (everything, input and output too); int8_sparse.
    The sparse int8 ones run without XNNPACK only. In int8, dense layers are 1 x 1 convolutions: dense_as_convolutions
    says why. Tensor names are stripped from the files. The converter's log is
    kept as out_dir/STEM_convert.log, with times and peak memory; every file is written whole or not at all.
    `Conversion` describes the arguments; `convert_all` takes several models and starts TensorFlow once.

    Returns:
        format -> file.

    Raises:
        ValueError: an unknown format, no calibration for int8, or a quantile outside 0.5 to 1.
        ConversionError: the conversion failed or took too long; the message names the log.
    """
    out, fmts = Path(out_dir), tuple(formats)
    conversion = Conversion(Path(onnx_path), out, fmts, calibration, range_quantile, ranges=ranges)
    (files,) = convert_all([conversion], timeout_s)
    return files


def convert_all(conversions: Sequence[Conversion], timeout_s: float = 600.0) -> list[dict[str, Path]]:
    """`convert` for several models in one child process, so that TensorFlow, some 10 s, is started once.

    Where one of them fails, the files of the others are written before ConversionError is raised. `timeout_s` is the
    time that the child has for each.
    """
    for conversion in conversions:
        _check_request(conversion)
    if len({(conversion.out_dir.resolve(), conversion.onnx.stem) for conversion in conversions}) < len(conversions):
        raise ValueError("Two conversions would write the same files; give them different folders or names.")
    with ExitStack() as stack:
        folders = []
        for conversion in conversions:
            conversion.log.parent.mkdir(parents=True, exist_ok=True)
            conversion.log.write_text("")
            folders.append(stack.enter_context(work_folder(conversion.out_dir, "convert")).resolve())
        requests = [_request(conversion, folder) for conversion, folder in zip(conversions, folders, strict=True)]
        ended = _run_worker(requests, folders[0], timeout_s * len(conversions)) if conversions else ""
        files, errors = [], []
        for conversion, folder in zip(conversions, folders, strict=True):
            error = _failure(conversion, folder, ended)
            errors += [error] if error else []
            files.append({} if error else _keep_files(conversion, folder))
    if errors:
        raise ConversionError("\n".join(errors), files)
    return files


def _check_request(conversion: Conversion) -> None:
    """Refuse what would fail later, after the wait."""
    from export.run.runtime import load_runtime

    formats, calibration = conversion.formats, conversion.calibration
    unknown = [fmt for fmt in formats if fmt not in FORMATS]
    if unknown or not formats:
        raise ValueError(f"Unknown formats {unknown}; choose from {', '.join(FORMATS)}.")
    known = conversion.ranges
    if known is not None and (calibration is None or any(len(v) > len(calibration) for v, _, _ in known)):
        raise ValueError("ranges need the calibration samples that their values were computed from, as the first ones.")
    output = conversion.output_range
    if output is not None and not -np.inf < output[0] < output[1] < np.inf:
        raise ValueError(f"output_range is {output}; it must be the lowest and the highest value of the output.")
    if conversion.range_quantile is not None and not 0.5 <= conversion.range_quantile <= 1:
        raise ValueError(f"range_quantile is {conversion.range_quantile}; it must lie between 0.5 and 1.")
    shape = load_runtime(conversion.onnx).input_shape  # raises on what is no ONNX file with one input and one output
    if calibration is not None and (calibration.ndim != 4 or calibration.shape[1:] != shape or not len(calibration)):
        raise ValueError(
            f"calibration has shape {calibration.shape}; {conversion.onnx} needs (N, {shape[0]}, {shape[1]}, "
            f"{shape[2]})."
        )
    if calibration is not None and not np.isfinite(calibration).all():
        raise ValueError("calibration holds values that are not finite; leave those samples out.")
    if calibration is None and any(fmt in INT8_FORMATS for fmt in formats):
        raise ValueError("int8 needs calibration samples (100 or more images, normalised as in training).")


def _request(conversion: Conversion, folder: Path) -> dict[str, Any]:
    """What the child is told; its inputs are copied into `folder`."""
    shutil.copyfile(conversion.onnx, folder / "model.onnx")  # onnx2tf writes into its input
    samples = None
    if conversion.calibration is not None:
        samples = str(folder / "calibration.npy")
        np.save(samples, np.asarray(conversion.calibration, np.float32))
    ranges = None
    if conversion.ranges is not None:
        ranges = str(folder / "ranges.npz")
        limits = np.array([[low, high] for _, low, high in conversion.ranges], np.float32)
        values = {str(i): np.asarray(value, np.float32) for i, (value, _, _) in enumerate(conversion.ranges)}
        np.savez(ranges, limits=limits, **values)  # pyright: ignore[reportArgumentType]
    return {
        "onnx": str(folder / "model.onnx"),
        "out_dir": str(folder),
        "log": str(conversion.log.resolve()),
        "formats": list(conversion.formats),
        "calibration": samples,
        "range_quantile": conversion.range_quantile,
        "ranges": ranges,
        "output_range": conversion.output_range,
    }


def _run_worker(requests: list[dict[str, Any]], folder: Path, timeout_s: float) -> str:
    """Run the child to its end; say how it ended, for those requests that it has not answered."""
    (folder / "request.json").write_text(json.dumps(requests))
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "1", "CUDA_VISIBLE_DEVICES": "-1"}
    child_command = command(WORKER, folder / "request.json")
    with open(requests[0]["log"], "a") as stream:
        try:
            child = subprocess.run(
                child_command, cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT, timeout=timeout_s
            )
        except subprocess.TimeoutExpired:
            return f"it took longer than {timeout_s:g} s and was stopped"
    return f"the child process ended with code {child.returncode}"


def _failure(conversion: Conversion, folder: Path, ended: str) -> str:
    """Why there are no files of this conversion, or ""; the log gets the child's answer as its last line."""
    try:
        answer = json.loads((folder / "answer.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):  # it was stopped before the answer, or while it wrote it
        answer = {"error": ended}
    with conversion.log.open("a") as stream:
        stream.write(json.dumps(answer) + "\n")
    if "error" not in answer:
        return ""
    reason = " ".join(answer["error"].split())[:300]
    return f"The conversion of {conversion.onnx} failed: {reason}; see {conversion.log}."


def _keep_files(conversion: Conversion, folder: Path) -> dict[str, Path]:
    """Move what the child made of one model to its place, without tensor names."""
    contents = {fmt: (folder / f"{fmt}.tflite").read_bytes() for fmt in conversion.formats}
    if "int8" in contents:
        contents["int8"] = dense_as_convolutions(contents["int8"])
    files = {fmt: conversion.out_dir / f"{conversion.onnx.stem}_{fmt}.tflite" for fmt in conversion.formats}
    write_all({files[fmt]: strip_names(content) for fmt, content in contents.items()})
    return files


def conversion_answer(conversion: Conversion) -> dict[str, Any]:
    """What the converter noted of a conversion that succeeded: seconds of each step, and what int8 ranges are from.

    Empty where its log is gone.
    """
    return json.loads(conversion.log.read_text().splitlines()[-1]) if conversion.log.is_file() else {}


def file_sizes(path: str | Path) -> dict[str, int]:
    """{"size_bytes", "gzip_bytes"}: as it is, and at gzip level 9 (zlib's, within 2 % of the program's)."""
    content = Path(path).read_bytes()
    return {"size_bytes": len(content), "gzip_bytes": len(gzip.compress(content, 9, mtime=0))}


def write_metadata(model_path: str | Path, metadata: dict[str, Any]) -> Path:
    """Write what a user of the file must know (input size, normalisation, units, ...) beside it, as model_path.json."""
    return write_json(_metadata_path(model_path), metadata)


def read_metadata(model_path: str | Path) -> dict[str, Any]:
    """What write_metadata wrote; empty where there is no such file.

    Raises:
        ExportError: the file is not a JSON object.
    """
    path = _metadata_path(model_path)
    if not path.is_file():
        return {}
    try:
        metadata = json.loads(path.read_text())
    except ValueError as error:
        raise ExportError(f"{path} is not JSON ({error}); export the model again.") from error
    if not isinstance(metadata, dict):
        raise ExportError(f"{path} holds no JSON object; export the model again.")
    return metadata


def _metadata_path(model_path: str | Path) -> Path:
    return Path(model_path).with_suffix(".json")

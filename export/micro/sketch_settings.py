"""model_settings.h of a sketch: what the fixed sources must know of the model, as constants."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from export.errors import ExportError, ModelFileError
from export.micro.arena import ARENA_MARGIN
from export.micro.flatbuffer import Model
from export.micro.labels import c_string, read_labels
from export.micro.sketch_text import generated, one_line, rows

ANGLES = ("yaw", "pitch", "roll")
PLACE = ("place_unit", "score_unit", "largest_shift", "largest_log_size")
"""What settings["place"] says, beside the index of its first output: see src/follow.h."""
MOST_DECIMALS = 8
"""More are written with an exponent, so that ten to their power fits 32 bits."""


def pose_settings(model: Model, arena_bytes: int | None, settings: Mapping[str, Any]) -> str:
    """Of a head-pose net. Raises ExportError for a setting that is none, ModelFileError for another network."""
    shape, outputs = model.input.shape, model.output.shape
    if len(shape) != 4 or shape[0] != 1 or shape[1] != shape[2] or shape[3] != 3:
        raise ModelFileError(f"{model.path} takes {list(shape)}; the sketch feeds one square RGB image [1, S, S, 3].")
    if len(outputs) != 2 or outputs[0] != 1 or outputs[1] < 3:
        raise ModelFileError(f"{model.path} returns {list(outputs)}; the sketch reads three angles, first of [1, 3].")
    order = [str(name) for name in settings.get("pose_order", ())]
    if sorted(order) != sorted(ANGLES):
        raise ExportError(f"settings['pose_order'] must name yaw, pitch and roll once each, not {order}.")
    units = settings.get("units")
    if units not in ("degrees", "radians"):
        raise ExportError(f"settings['units'] must be 'degrees' or 'radians', not {units!r}.")
    degrees = 1.0 if units == "degrees" else 180 / math.pi
    indices = ", ".join(str(order.index(name)) for name in ANGLES)
    own = f"""constexpr int kImageSize = {shape[1]};

// degrees per unit, and which output is yaw, pitch, roll
constexpr PoseCode kPoseCode = {{{_float(degrees)}, {indices}}};
{_place_code(model, settings)}
{_tables(model, settings)}"""
    defines = f"#define SKETCH_LOCATES {int('place' in settings)}\n\n"
    includes = ("src/follow.h", "src/image.h", "src/pose.h")
    return _header(model, arena_bytes, settings, own, includes, defines)


def _place_code(model: Model, settings: Mapping[str, Any]) -> str:
    """How the outputs that locate the face are read; nothing for a model that has none."""
    if "place" not in settings:
        return ""
    place = settings["place"]
    try:
        first = int(place["first"])
        units = [float(place[name]) for name in PLACE]
    except (KeyError, TypeError, ValueError):
        raise ExportError(f"settings['place'] must hold first, {', '.join(PLACE)}, not {place!r}.") from None
    if not (0 <= first <= model.output.elements - 4 and all(unit > 0 for unit in units)):
        raise ExportError(f"settings['place'] does not suit {model.output.elements} outputs: {place!r}.")
    return f"""
// The outputs that locate the face: the first of the four, units of shift and score, the largest that is believed.
constexpr PlaceCode kPlaceCode = {{{first}, {", ".join(map(_float, units))}}};
"""


def plain_settings(model: Model, arena_bytes: int | None, settings: Mapping[str, Any]) -> str:
    """Of any other net. Raises ExportError for a setting that is none or does not suit the model."""
    decimals, exponent = output_digits(model)
    image, labels = takes_image(settings), settings.get("labels")
    defines = f"#define SKETCH_IMAGE {int(image)}\n#define SKETCH_LABELS {int(labels is not None)}\n\n"
    own = f"""// How outputs are printed: digits after the point, 10 to their power, what follows, last digits in 1.
constexpr int kDecimals = {decimals};
constexpr long kOne = {10**decimals};
constexpr char kExponent[] = "{f"e{exponent}" if exponent else ""}";
constexpr float kUnitsPerOne = {_float(10.0 ** (decimals - exponent))};
"""
    if image:
        own += f"\nconstexpr int kChannels = {model.input.shape[-1]};\n\n{_tables(model, settings)}"
    if labels is not None:
        texts = read_labels(labels, model)
        own += "\n// What the outputs mean, in their order.\nconstexpr const char* kLabels[kOutputs] = {\n"
        own += "".join(f"    {c_string(text)},\n" for text in texts) + "};\n"
    return _header(model, arena_bytes, settings, own, ("src/quantize.h",), defines)


def takes_image(settings: Mapping[str, Any]) -> bool:
    """Whether frames carry the bytes of an image, which the sketch normalises; else they carry int8 as it is."""
    return "mean" in settings or "std" in settings


def output_digits(model: Model) -> tuple[int, int]:
    """Digits after the point and a power of ten for the outputs, so that one step of them moves the last two digits."""
    scale = model.output.scale
    if not 1e-30 < scale < 1e30:
        raise ExportError(f"{model.path} has an output of scale {scale:g}, which a sketch cannot print.")
    digits = 1 - math.floor(math.log10(scale))
    return (digits, 0) if 0 <= digits <= MOST_DECIMALS else (0, -digits)


def quantize_table(mean: Iterable[float], std: Iterable[float], scale: float, zero_point: int) -> np.ndarray:
    """int8 (C, 256): what the model's input takes for each value of each channel (red, green, blue).

    Normalisation (v / 255 - mean) / std and quantisation in one, in float32 and rounded as `export.run.runtime` does.
    """
    values = np.arange(256, dtype=np.float32) / np.float32(255)
    means = np.asarray(list(mean), np.float32)[:, None]
    stds = np.asarray(list(std), np.float32)[:, None]
    scaled = (values - means) / stds / np.float32(scale)  # (C, 256)
    rounded = np.trunc(scaled) + np.where(np.abs(scaled - np.trunc(scaled)) >= 0.5, np.sign(scaled), 0)
    return np.clip(rounded + zero_point, -128, 127).astype(np.int8)


def _tables(model: Model, settings: Mapping[str, Any]) -> str:
    channels = model.input.shape[-1] if len(model.input.shape) == 4 else 0
    if not channels:
        raise ExportError(f"{model.path} takes {list(model.input.shape)}, no image: leave out mean and std.")
    mean, std = (_numbers(settings, key, channels) for key in ("mean", "std"))
    if min(std) <= 0:
        raise ExportError(f"settings['std'] must be positive, not {std}.")
    table = quantize_table(mean, std, model.input.scale, model.input.zero_point)
    return f"""// (value / 255 - mean) / std, quantised; mean {mean}, std {std}
constexpr ChannelTable kQuantizeTable[{channels}] = {{
{rows(table)}}};
"""


def _numbers(settings: Mapping[str, Any], key: str, count: int) -> list[float]:
    try:
        numbers = [float(value) for value in settings[key]]
    except (KeyError, TypeError, ValueError):
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        wanted = "three numbers (red, green, blue)" if count == 3 else f"{count} numbers, one for each channel"
        raise ExportError(f"settings[{key!r}] must hold {wanted}, not {settings.get(key)!r}.")
    return numbers


def _header(
    model: Model,
    arena_bytes: int | None,
    settings: Mapping[str, Any],
    own: str,
    includes: Iterable[str],
    defines: str = "",
) -> str:
    source, target = model.input, model.output
    note = one_line(str(settings.get("note", "")))
    arena = ""
    if arena_bytes is not None:
        arena = f"constexpr unsigned long kTensorArenaBytes = {arena_bytes};  // planned, and {ARENA_MARGIN:.0%} more\n"
    return f"""{generated(model)}{f"{chr(10)}// {note}" if note else ""}
#ifndef SKETCH_MODEL_SETTINGS_H_
#define SKETCH_MODEL_SETTINGS_H_

{"".join(f'#include "{name}"{chr(10)}' for name in includes)}
{defines}namespace sketch {{

constexpr int kInputShape[] = {{{", ".join(map(str, source.shape))}}};
constexpr int kOutputShape[] = {{{", ".join(map(str, target.shape))}}};
constexpr int kInputBytes = {source.elements};
constexpr int kOutputs = {target.elements};
{arena}
// real value = scale * (integer - zero point)
constexpr float kInputScale = {_float(source.scale)};
constexpr int kInputZeroPoint = {source.zero_point};
constexpr float kOutputScale = {_float(target.scale)};
constexpr int kOutputZeroPoint = {target.zero_point};

{own}
}}  // namespace sketch

#endif  // SKETCH_MODEL_SETTINGS_H_
"""


def _float(value: float) -> str:
    """A C++ float literal that reads back as the same float32."""
    text = f"{np.float32(value):.9g}"
    return (text if any(c in text for c in ".e") else f"{text}.0") + "f"

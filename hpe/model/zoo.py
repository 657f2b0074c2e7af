"""The released models by name: which file or run folder a name means, and the table of `hpe models`.

A released name means the released model, wherever it is typed. A file or folder of that name is meant by a path with
a separator in it (./b0, or its full path); where both are there, a message says that the release was taken.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import zlib
from functools import cache
from pathlib import Path
from typing import Any

from hpe.io.errors import HpeError
from hpe.io.files import default_cache_dir, write_whole
from hpe.io.progress import standard_output
from hpe.model import cards as released
from hpe.model.cards import cards

DEFAULT_MODEL = "b0-pi"
"""What `hpe predict` runs where no model is named: the best bargain, which at a tenth of b0's bytes errs less."""
SUFFIXES = (".tflite", ".onnx")
INT8 = "model_int8.tflite"
"""The file of a run that devices run, and by which boards are weighed."""
WEIGHTS = "model.safetensors"
"""The weights in a run folder."""


class ModelNameError(HpeError, ValueError):
    """No such model, or a card that does not hold; the message lists what there is."""


def resolve_model(text: str | Path | None, folder: Path | None = None) -> Path:
    """The run folder or model file that `text` means: the name of a released model, or a path.

    None means the default model. A path is returned as it is where it exists or looks like one, so that who opens it
    says what is wrong with it; a name that is not released raises ModelNameError.
    """
    known = cards(folder)
    if text is None and DEFAULT_MODEL not in known:
        raise ModelNameError("no model is released with this version; name a run folder or model file with --model")
    card = known[DEFAULT_MODEL] if text is None else released_card(text, folder)
    if text is not None and card is None:
        if _is_path(text):
            return Path(text)
        raise ModelNameError(f"{text}: no such model; give a run folder, or a .onnx or .tflite file{_or_one_of(known)}")
    assert card is not None
    file = (folder or released.FOLDER) / card["file"]
    if file.suffix == ".gz":
        file = _unpacked(file, card["sha256"])
    return _whole(file, card["sha256"], card["name"])


def resolve_file(text: str | Path, folder: Path | None = None) -> Path:
    """The model file that `text` means, of a run folder its int8 file; for what weighs, times, compiles or deploys."""
    path = resolve_model(text, folder)
    if not path.is_dir():
        return path
    if not (path / INT8).is_file():
        raise ModelNameError(f"{path}: no {INT8} in this folder; run `hpe export {path}` first, or name a model file")
    return path / INT8


def resolve_run(text: str | Path, folder: Path | None = None) -> Path:
    """The run folder that `text` means, for what trains or exports: a released model with a checkpoint, or a path."""
    card = released_card(text, folder)
    if card is None and _is_path(text):
        return Path(text)
    if card is None or card["checkpoint"] is None:
        trainable = {name: card for name, card in cards(folder).items() if card["checkpoint"]}
        reason = "no such run" if card is None else "released as a file that can only be run, without weights"
        raise ModelNameError(
            f"{text}: {reason}; give the folder of a finished `hpe train` or `hpe prune`{_or_one_of(trainable)}"
        )
    checkpoint = card["checkpoint"]
    return _whole((folder or released.FOLDER) / checkpoint["folder"] / WEIGHTS, checkpoint["sha256"], text).parent


def released_card(text: str | Path, folder: Path | None = None) -> dict[str, Any] | None:
    """The card of the released model that `text` names; None where it is a path, or no released name."""
    card = cards(folder).get(str(text))
    if card is not None and Path(text).exists():
        _tell_which(str(text), Path(text).absolute())
    return card


def is_released(text: str | Path | None) -> bool:
    """Whether `resolve_model` gives the file of a released model, whose digest it has then checked."""
    return text is None or released_card(text) is not None


@cache
def _tell_which(name: str, path: Path) -> None:
    """Say once that a file or folder of a released name was not taken."""
    logging.getLogger(__name__).warning(
        "%s: the released model is taken, not %s; give a path with a / in it, or rename it, to mean that", name, path
    )


def _is_path(text: str | Path) -> bool:
    path = Path(text)
    return path.exists() or path.suffix in SUFFIXES or len(path.parts) > 1


def _or_one_of(known: dict[str, dict[str, Any]]) -> str:
    return f", or a released one: {', '.join(known)}" if known else ""


def _unpacked(packed: Path, sha256: str) -> Path:
    """The file inside a gzipped one, in the cache, where it is written on first use; `packed` if that is spoilt."""
    file = default_cache_dir() / "models" / sha256[:10] / packed.stem
    if file.is_file() and digest(file) == sha256:
        return file
    try:
        content = gzip.decompress(packed.read_bytes())
    except (OSError, EOFError, zlib.error):
        return packed
    try:
        return write_whole(file, lambda path: path.write_bytes(content))
    except OSError as error:
        raise ModelNameError(
            f"{file}: cannot be written ({error.strerror}); point HPE_CACHE at a folder that can"
        ) from None


def _whole(file: Path, sha256: str, model: str | Path) -> Path:
    """The file, if it is the one that the card speaks of."""
    if not file.is_file() or digest(file) != sha256:
        raise ModelNameError(f"{file}: the file of model {model} is missing or changed; install head-pose-edge again")
    return file


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def print_models(known: dict[str, dict[str, Any]]) -> None:
    """The cards as a table that fits 80 columns; the JSON has the rest."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("model", "bytes", "gzip", "MMAC", "arena", "deg", "float"):
        table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    for name, card in known.items():
        macs, arena = card["macs"], card["arena_bytes"]
        numbers = [f"{card['size_bytes']:,}", f"{card['gzip_bytes']:,}", "-" if macs is None else f"{macs / 1e6:.2f}"]
        numbers += ["-" if arena is None else f"{arena:,}", f"{card['mae_deg']['mean']:.2f}"]
        numbers.append(f"{card['float_mae_deg']['mean']:.2f}")
        table.add_row(name, *numbers)
    console = standard_output()
    console.print(table)
    for boards in dict.fromkeys(" ".join(card["boards"]) for card in known.values()):
        names = ", ".join(name for name, card in known.items() if " ".join(card["boards"]) == boards)
        console.print(f"On {boards or 'none of the known boards'}: {names}.", soft_wrap=True)
    for data, protocol in sorted({(card["data"], card["protocol"]) for card in known.values()}):
        console.print(f"deg: MAE on {data}: {protocol}.", soft_wrap=True)
    for data in sorted({card["float_data"] for card in known.values()}):
        names = ", ".join(name for name, card in known.items() if card["float_data"] == data)
        console.print(f"float: before the file was quantised, on {data} ({names}).", soft_wrap=True)

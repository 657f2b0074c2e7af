"""The models that ship with the package: hpe/model/releases/NAME.json (the card) and the files that it names.

A card holds what `hpe.deploy.release` measured or was told: name, file (gzipped where it ends in .gz), sha256 and
size_bytes of the model itself, gzip_bytes, params, nonzeros, macs, arena_bytes, boards (that it fits), format, mae_deg
of the file, float_mae_deg of the network it was made from, geodesic_deg, n, data, protocol, trained_on, limits,
provenance, id and config of the run, those of its parents, environment; and checkpoint (folder, sha256, size_bytes),
which training can start from, None where there is none.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path
from typing import Any

from hpe.io.files import default_cache_dir, read_json, write_whole
from hpe.io.progress import standard_output

FOLDER = Path(__file__).parent / "releases"
DEFAULT_MODEL = "b0"
"""What `hpe predict` runs where no model is named."""
SUFFIXES = (".tflite", ".onnx")
WEIGHTS = "model.safetensors"
"""The weights in a run folder."""


class ModelNameError(ValueError):
    """No such model, or a card that does not hold; the message lists what there is."""


def cards(folder: Path | None = None) -> dict[str, dict[str, Any]]:
    """The card of every shipped model by name, the largest file first."""
    found = [read_json(path) for path in (folder or FOLDER).glob("*.json")]
    return {card["name"]: card for card in sorted(found, key=lambda card: (-card["size_bytes"], card["name"]))}


def resolve_model(text: str | Path | None, folder: Path | None = None) -> Path:
    """The run folder or model file that `text` means: a path that exists, or the name of a shipped model.

    None means the default model. A path is returned as it is where it exists or looks like one, so that who opens it
    says what is wrong with it; a name that is not shipped raises ModelNameError.
    """
    known = cards(folder)
    if text is None:
        if DEFAULT_MODEL not in known:
            raise ModelNameError("no model ships with this version; name a run folder or model file with --model")
        text = DEFAULT_MODEL
    if _is_path(text):
        return Path(text)
    card = known.get(str(text))
    if card is None:
        raise ModelNameError(f"{text}: no such model; give a run folder, or a .onnx or .tflite file{_or_one_of(known)}")
    file = (folder or FOLDER) / card["file"]
    if file.suffix == ".gz":
        file = _unpacked(file, card["sha256"])
    return _whole(file, card["sha256"], text)


def resolve_run(text: str | Path, folder: Path | None = None) -> Path:
    """The run folder that `text` means, for what trains or exports: a path, or a shipped model with a checkpoint."""
    if _is_path(text):
        return Path(text)
    known = cards(folder)
    trainable = {name: card for name, card in known.items() if card["checkpoint"]}
    if str(text) not in trainable:
        reason = "ships as a file that can only be run" if str(text) in known else "no such run"
        raise ModelNameError(
            f"{text}: {reason}; give the folder of a finished `hpe train` or `hpe prune`{_or_one_of(trainable)}"
        )
    checkpoint = trainable[str(text)]["checkpoint"]
    return _whole((folder or FOLDER) / checkpoint["folder"] / WEIGHTS, checkpoint["sha256"], text).parent


def _is_path(text: str | Path) -> bool:
    path = Path(text)
    return path.exists() or path.suffix in SUFFIXES or len(path.parts) > 1


def _or_one_of(known: dict[str, dict[str, Any]]) -> str:
    return f", or one that ships: {', '.join(known)}" if known else ""


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
    for heading in ("model", "bytes", "gzip", "MMAC", "arena", "deg", "float", "fits"):
        table.add_column(heading, justify="left" if heading in ("model", "fits") else "right", overflow="fold")
    for name, card in known.items():
        macs, arena = card["macs"], card["arena_bytes"]
        numbers = [f"{card['size_bytes']:,}", f"{card['gzip_bytes']:,}", "-" if macs is None else f"{macs / 1e6:.2f}"]
        numbers += ["-" if arena is None else f"{arena:,}", f"{card['mae_deg']['mean']:.2f}"]
        numbers.append(f"{card['float_mae_deg']['mean']:.2f}")
        table.add_row(name, *numbers, " ".join(card["boards"]))
    console = standard_output()
    console.print(table)
    for data, protocol in sorted({(card["data"], card["protocol"]) for card in known.values()}):
        console.print(f"deg: MAE on {data}: {protocol}; float: before the file was quantised.", soft_wrap=True)

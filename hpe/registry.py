"""The models that ship with the package: hpe/models/NAME.json (the card) and the file that it names.

A card holds what `ship` measured or was told: name, file, sha256, size_bytes, gzip_bytes, params, nonzeros, macs,
arena_bytes, boards (microcontrollers that it fits), mae_deg, n, data, protocol, trained_on, limits, environment.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from hpe.environment import environment
from hpe.files import read_json, write_json, write_whole

FOLDER = Path(__file__).parent / "models"
DEFAULT_MODEL = "b0-pi"
"""What `hpe predict` runs where no model is named."""
SUFFIXES = (".tflite", ".onnx")
PROTOCOL = "angles beyond 99 degrees left out; crop k = 0.2 around 68 landmarks; mean absolute difference"


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
    path = Path(text)
    name = str(text)
    if path.exists() or path.suffix in SUFFIXES or len(path.parts) > 1:
        return path
    if name not in known:
        shipped = f", or one that ships: {', '.join(known)}" if known else ""
        raise ModelNameError(f"{name}: no such model; give a run folder, or a .onnx or .tflite file{shipped}")
    file = (folder or FOLDER) / known[name]["file"]
    if not file.is_file() or digest(file) != known[name]["sha256"]:
        raise ModelNameError(f"{file}: the file of model {name} is missing or changed; install head-pose-edge again")
    return file


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def ship(file: Path, name: str, data: str, limits: str, folder: Path | None = None) -> dict[str, Any]:
    """Copy a run's .tflite or .onnx file into the package with its card, and return the card.

    The error is the one that `hpe evaluate FILE --data DATA` noted in the run; MACs, arena and boards come from the
    file itself. ModelNameError where the error was never measured.
    """
    run, folder = file.parent, folder or FOLDER
    result = read_json(run / "result.json")
    measured = [e for e in result.get("evaluations", {}).values() if e["file"] == file.name and e["data"] == data]
    if not measured:
        raise ModelNameError(f"{file}: its error is not known; run `hpe evaluate {file} --data {data}` first")
    from export.tflite import file_sizes

    card: dict[str, Any] = {"name": name, "file": f"{name}{file.suffix}", "sha256": digest(file), **file_sizes(file)}
    card |= {key: result.get(key) for key in ("params", "nonzeros", "macs")} | needs(file)
    card |= {key: measured[0][key] for key in ("mae_deg", "geodesic_deg", "n")}
    card |= {"data": data, "protocol": PROTOCOL, "trained_on": result["config"]["data"], "limits": limits}
    card |= {"run": result["id"], "environment": environment()}
    write_whole(folder / card["file"], lambda temporary: shutil.copyfile(file, temporary))
    write_json(folder / f"{name}.json", card)
    return card


def needs(file: Path) -> dict[str, Any]:
    """arena_bytes of a full-int8 .tflite on a Cortex-M (None for others), and the boards that the file fits."""
    from export.arena import plan_arena
    from export.boards import BOARDS
    from export.fit import fit
    from export.flatbuffer import ModelFileError, read_model
    from export.micro import check_int8

    if file.suffix != ".tflite":
        return {"arena_bytes": None, "boards": []}
    try:
        check_int8(read_model(file))
        arena = plan_arena(read_model(file)).arena_bytes
        boards = list(BOARDS)
    except ModelFileError:  # floating point: Linux only
        arena, boards = None, [name for name, board in BOARDS.items() if board.is_linux]
    return {"arena_bytes": arena, "boards": [name for name in boards if fit(file, name).fits]}


def print_models(known: dict[str, dict[str, Any]]) -> None:
    """The cards as a table that fits 80 columns; the JSON has the rest."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("model", "bytes", "gzip", "MMAC", "arena", "MAE deg", "fits"):
        table.add_column(heading, justify="left" if heading in ("model", "fits") else "right", overflow="fold")
    for name, card in known.items():
        macs, arena = card["macs"], card["arena_bytes"]
        numbers = [f"{card['size_bytes']:,}", f"{card['gzip_bytes']:,}", "-" if macs is None else f"{macs / 1e6:.2f}"]
        numbers += ["-" if arena is None else f"{arena:,}", f"{card['mae_deg']['mean']:.2f}"]
        table.add_row(name, *numbers, " ".join(card["boards"]))
    console = Console()
    console.print(table)
    for data, n, protocol in sorted({(card["data"], card["n"], card["protocol"]) for card in known.values()}):
        console.print(f"MAE on {data}, n={n}: {protocol}.", soft_wrap=True)

"""Put a finished run into the package as a shipped model: export, measure, copy, write the card. For maintainers.

python -m hpe.deploy.release runs/b0 b0 --format fp16 --checkpoint --data csv:faces@test
python -m hpe.deploy.release runs/nano b0-nano --data csv:faces@test
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from hpe.io.environment import environment
from hpe.io.files import read_json, write_json, write_text, write_whole
from hpe.model import zoo as registry
from hpe.model.zoo import WEIGHTS, ModelNameError, cards, digest

PROTOCOL = "angles beyond 99 degrees left out; crop k = 0.2 around 68 landmarks; mean absolute difference"
TESTED_ON = "285 faces of AFLW2000-3D (80x80 pixels, exact labels)"
TRAINED_ON = (
    "15,707 faces of AFLW, LFW, MTFL and YouTube-Faces (80x80 pixels, labels of three public networks, about 2.3 "
    "degrees from the truth), and drawn heads of this project"
)
PROVENANCE = (
    "The photographs come from sets published for research; none of them is in this package. Whether their terms reach "
    "weights learnt from them is not settled: ask a lawyer before you sell what uses these."
)
LIMITS = (
    "One upright face that fills the crop. The test faces are easier than the full AFLW2000-3D; beyond 45 degrees of "
    "yaw the labels are mostly those of drawn heads. Not examined for differences between groups of people; not for "
    "identification or for decisions about people."
)
CHECKPOINT_TOLERANCE_DEG = 0.02
"""How far half-precision weights may move a pose, in the mean."""


@dataclass(frozen=True)
class ShipOptions:
    """Put a finished run into the package as a shipped model."""

    run: tyro.conf.Positional[Path]
    """Folder of a finished run."""
    name: tyro.conf.Positional[str]
    """What the model will be called."""
    data: Annotated[str, tyro.conf.arg(metavar="SPEC")]
    """The test data, as in hpe evaluate."""
    format: Literal["int8", "fp16", "fp32", "dynamic", "int8_sparse"] = "int8"
    """The file that ships: RUN/model_FORMAT.tflite, which is exported where it is absent."""
    checkpoint: bool = False
    """Also ship the weights for training (half precision): prune, finetune and distillation can start from it."""
    packed: bool = False
    """Ship the file gzipped; it is unpacked into the cache on first use. For files with many zeros."""
    tested_on: str = TESTED_ON
    """The test data in words."""
    trained_on: str = TRAINED_ON
    """The training data in words."""
    limits: str = LIMITS
    """What the model is not for."""


def ship(options: ShipOptions, folder: Path | None = None, report: Callable[[str], None] = print) -> dict[str, Any]:
    """Copy a run's file into the package with its card, and return the card.

    The errors of file and float network are measured here; MACs, arena and boards come from the file itself.
    """
    from export.convert.tflite import file_sizes
    from hpe.deploy.pipeline import run_evaluate, run_export

    run, name, folder = options.run, options.name, folder or registry.FOLDER
    file = run / f"model_{options.format}.tflite"
    if not file.exists():
        run_export(run, formats=[options.format], report=report)
    measured, float_net = (run_evaluate(model, options.data) for model in (file, run))
    result = read_json(run / "result.json")
    card: dict[str, Any] = {"name": name, "file": f"{name}.tflite" + ".gz" * options.packed}
    card |= {"sha256": digest(file), **file_sizes(file)}
    card |= {key: result[key] for key in ("params", "nonzeros", "macs")} | needs(file)
    card |= {"format": options.format, "mae_deg": measured.mae_deg, "float_mae_deg": float_net.mae_deg}
    card |= {"geodesic_deg": measured.geodesic_deg, "n": measured.n, "data": options.tested_on, "protocol": PROTOCOL}
    card |= {"trained_on": options.trained_on, "limits": options.limits, "provenance": PROVENANCE}
    *parents, config = recipe(run)
    card |= {"id": result["id"], "config": config, "parents": parents, "environment": environment()}
    card["checkpoint"] = None
    if options.checkpoint:
        card["checkpoint"] = ship_checkpoint(run, folder, name, options.data)
    content = file.read_bytes()
    packed = gzip.compress(content, 9, mtime=0) if options.packed else content
    write_whole(folder / card["file"], lambda temporary: temporary.write_bytes(packed))
    write_json(folder / f"{name}.json", card)
    write_text(folder / "README.md", page(cards(folder)))
    return card


def ship_checkpoint(run: Path, folder: Path, name: str, data: str) -> dict[str, Any]:
    """Copy arch.json and the weights in half precision to FOLDER/NAME; statistics and biases stay in single.

    ModelNameError where half precision would move the poses of faces in `data`.
    """
    import numpy as np
    from safetensors.torch import load_file, save_file

    from hpe.data.faces import load_faces
    from hpe.deploy.pipeline import PARITY_SAMPLES, random_crops
    from hpe.model.net import load_model
    from hpe.training.loop import predict_all

    weights = {key: tensor.half() if tensor.dim() > 1 else tensor for key, tensor in load_file(run / WEIGHTS).items()}
    crops = random_crops(load_faces(data), PARITY_SAMPLES)
    target = folder / name
    with tempfile.TemporaryDirectory() as temporary:
        shutil.copyfile(run / "arch.json", Path(temporary, "arch.json"))
        save_file(weights, Path(temporary, WEIGHTS))
        strays = predict_all(load_model(temporary), crops) - predict_all(load_model(run), crops)  # (N, 3)
        if np.abs(strays).mean() > CHECKPOINT_TOLERANCE_DEG:
            raise ModelNameError(f"{run}: half precision moves its poses by {np.abs(strays).mean():.3f} deg")
        for file in ("arch.json", WEIGHTS):
            write_whole(target / file, lambda path, file=file: shutil.copyfile(Path(temporary, file), path))
    return {"folder": name, "sha256": digest(target / WEIGHTS), "size_bytes": (target / WEIGHTS).stat().st_size}


def recipe(run: Path) -> list[dict[str, Any]]:
    """What was asked for in each stage of a run, the first one first; folders by their names only."""
    stages: list[dict[str, Any]] = []
    place: Path | None = run
    while place is not None and (place / "config.json").exists():
        config = read_json(place / "config.json")
        if config["distill"]["teacher"] is not None:
            config["distill"]["teacher"] = Path(config["distill"]["teacher"]).name
        kept = ("command", "model", "prune", "finetune", "stretch", "train", "augment", "distill")
        stages.insert(0, {key: config[key] for key in kept if key in config})
        parent = config.get("parent")
        place = None if parent is None else place.parent / Path(parent).name
    return stages


def needs(file: Path) -> dict[str, Any]:
    """arena_bytes of a full-int8 .tflite on a Cortex-M (None for others), and the boards that the file fits."""
    from export.micro.arena import plan_arena
    from export.micro.boards import BOARDS
    from export.micro.flatbuffer import ModelFileError, read_model
    from export.micro.footprint import fit
    from export.micro.tflm import check_int8

    try:
        check_int8(read_model(file))
        arena = plan_arena(read_model(file)).arena_bytes
        boards = list(BOARDS)
    except ModelFileError:  # floating point: Linux only
        arena, boards = None, [name for name, board in BOARDS.items() if board.is_linux]
    return {"arena_bytes": arena, "boards": [name for name in boards if fit(file, name).fits]}


def page(known: dict[str, dict[str, Any]]) -> str:
    """The cards as a Markdown page."""
    lines = [
        "# Models that ship",
        "",
        "Written by `python -m hpe.deploy.release`; `NAME.json` holds each card in full.",
        "",
    ]
    lines += ["| model | file | bytes | gzip | parameters | non-zeros | MMAC | arena | MAE deg | float deg | fits |"]
    lines += ["|---|---|" + "---:|" * 8 + "---|"]
    for name, card in known.items():
        arena = "-" if card["arena_bytes"] is None else f"{card['arena_bytes']:,}"
        cells = [name, card["format"], f"{card['size_bytes']:,}", f"{card['gzip_bytes']:,}", f"{card['params']:,}"]
        cells += [f"{card['nonzeros']:,}", f"{card['macs'] / 1e6:.2f}", arena, f"{card['mae_deg']['mean']:.2f}"]
        cells += [f"{card['float_mae_deg']['mean']:.2f}", ", ".join(card["boards"])]
        lines.append("| " + " | ".join(cells) + " |")
    for title, key in (("Tested on", "data"), ("Protocol", "protocol"), ("Trained on", "trained_on"),
                       ("Limits", "limits"), ("Where the data come from", "provenance")):  # fmt: skip
        for text in dict.fromkeys(card[key] for card in known.values()):
            names = [name for name, card in known.items() if card[key] == text]
            whose = "" if len(names) == len(known) else f" ({', '.join(names)})"
            lines += ["", f"**{title}{whose}.** {text[:1].upper()}{text[1:]}"]
    return "\n".join(lines) + "\n"


def main() -> None:
    card = ship(tyro.cli(ShipOptions, description=__doc__))
    print(f"{card['name']}: {card['size_bytes']:,} bytes, {card['gzip_bytes']:,} after gzip -9; MAE "
          f"{card['mae_deg']['mean']:.3f} deg, float {card['float_mae_deg']['mean']:.3f}; fits "
          f"{', '.join(card['boards'])}")  # fmt: skip


if __name__ == "__main__":
    main()

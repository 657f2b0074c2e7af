"""Release a finished run: export, measure, copy into the package, write the card; or measure all releases again.

For maintainers.

python -m hpe.deploy.release add runs/nano b0-nano --data csv:faces@test --trained-on "20,000 faces of ..."
python -m hpe.deploy.release measure --data csv:faces@test
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

from hpe.deploy.recipe import check_recipe, recipe
from hpe.io.configs import to_dict
from hpe.io.environment import environment
from hpe.io.files import read_json, write_json, write_text, write_whole
from hpe.io.markdown import markdown_table
from hpe.io.records import read_record
from hpe.model import cards as released
from hpe.model.cards import cards
from hpe.model.lineage import RunOrigin
from hpe.model.zoo import WEIGHTS, ModelNameError, digest, resolve_model, resolve_run
from hpe.pose.metrics import PoseMetrics

PROTOCOL = "angles beyond 99 degrees left out; crop k = 0.2 around 68 landmarks; mean absolute difference"
TESTED_ON = "AFLW2000-3D (80x80 pixels, exact labels)"
PROVENANCE = (
    "The photographs come from sets published for research; none of them is in this package. Whether their terms reach "
    "weights learnt from them is not settled: ask a lawyer before you sell what uses these."
)
LIMITS = (
    "One upright face that fills the crop. The test faces are easier than the full AFLW2000-3D; beyond 45 degrees of "
    "yaw the labels are those of networks, too. Not examined for differences between groups of people; not "
    "for identification or for decisions about people."
)
PACKAGE_BYTES = 20_000_000
"""All released models together, weights for training included, are no larger."""
CHECKPOINT_TOLERANCE_DEG = 0.02
"""How far half-precision weights may move a pose, in the mean."""

Report = Callable[[str], None]


@dataclass(frozen=True)
class ReleaseOptions:
    """Put a finished run into the package as a released model."""

    run: tyro.conf.Positional[Path]
    """Folder of a finished run."""
    name: tyro.conf.Positional[str]
    """What the model will be called."""
    data: Annotated[str, tyro.conf.arg(metavar="SPEC")]
    """The test data, as in hpe evaluate."""
    trained_on: str
    """The training data in words."""
    format: Literal["int8", "fp16", "fp32", "sparse", "dynamic", "int8_sparse"] = "int8"
    """The file that is released: RUN/model_FORMAT.tflite, which is exported where it is absent."""
    checkpoint: bool = True
    """Also release the weights for training (half precision), where the package has room for them: prune, finetune and
    distillation can start from it."""
    packed: bool = False
    """Release the file gzipped; it is unpacked into the cache on first use. For files with many zeros."""
    tested_on: str = TESTED_ON
    """The test data in words; how many faces they are is put before."""
    limits: str = LIMITS
    """What the model is not for."""


@dataclass(frozen=True)
class MeasureOptions:
    """Measure the errors of released models again and write them into their cards; nothing else changes.

    The error of the float network is measured where its weights are released; elsewhere the old one stays, with the
    faces that it was measured on.
    """

    data: Annotated[str, tyro.conf.arg(metavar="SPEC")]
    """The test data, as in hpe evaluate."""
    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Which models. Left out: all."""
    tested_on: str = TESTED_ON
    """The test data in words; how many faces they are is put before."""


def release(options: ReleaseOptions, folder: Path | None = None, report: Report = print) -> dict[str, Any]:
    """Copy a run's file into the package with its card, and return the card.

    The errors of file and float network are measured here; MACs, arena and boards come from the file itself.
    """
    from export.convert.tflite import file_sizes
    from hpe.deploy.evaluate import run_evaluate
    from hpe.deploy.export import run_export

    run, name, folder = options.run, options.name, folder or released.FOLDER
    config, parents = (stages := recipe(run))[-1], stages[:-1]
    file = run / f"model_{options.format}.tflite"
    if not file.exists():
        run_export(run, formats=[options.format], report=report)
    measured, float_net = (run_evaluate(model, options.data) for model in (file, run))
    result = read_json(run / "result.json")
    card: dict[str, Any] = {"name": name, "file": f"{name}.tflite" + ".gz" * options.packed}
    card |= {"sha256": digest(file), **file_sizes(file)}
    card |= {key: result[key] for key in ("params", "nonzeros", "macs")} | needs(file)
    card |= {"format": options.format, **errors(measured, float_net, options.tested_on), "protocol": PROTOCOL}
    card |= {"trained_on": options.trained_on, "limits": options.limits, "provenance": PROVENANCE}
    lineage = read_record(RunOrigin, run / "result.json").config.lineage
    card |= {"id": result["id"], "config": config, "parents": parents, "lineage": to_dict(lineage)}
    card |= {"environment": environment(), "checkpoint": None}
    check_recipe(card)
    content = file.read_bytes()
    packed = gzip.compress(content, 9, mtime=0) if options.packed else content
    if options.checkpoint:
        room = PACKAGE_BYTES - len(packed) - released_bytes(folder, besides=name)
        card["checkpoint"] = release_checkpoint(run, folder, name, options.data, room)
        if card["checkpoint"] is None:
            report(f"{name}: released without its weights, with which all models would exceed {PACKAGE_BYTES:,} bytes")
    write_whole(folder / card["file"], lambda temporary: temporary.write_bytes(packed))
    write_json(folder / f"{name}.json", card)
    write_text(folder / "README.md", page(cards(folder)))
    return card


def measure(options: MeasureOptions, folder: Path | None = None, report: Report = print) -> None:
    """Measure released models again: their cards get the new errors, and the page is written again."""
    from hpe.deploy.evaluate import run_evaluate

    folder = folder or released.FOLDER
    known = cards(folder)
    unknown = sorted(set(options.names) - set(known))
    if unknown:
        raise ModelNameError(f"{', '.join(unknown)}: not released; choose from {', '.join(known)}")
    for name in options.names or known:
        card = known[name]
        check_recipe(card)
        measured = run_evaluate(resolve_model(name, folder), options.data)
        float_net = run_evaluate(resolve_run(name, folder), options.data) if card["checkpoint"] else None
        before = card["mae_deg"]["mean"]
        card |= errors(measured, float_net, options.tested_on) | {"environment": environment()}
        write_json(folder / f"{name}.json", card)
        report(f"{name}: {measured.mean_deg:.3f} deg on {card['data']} (the card said {before:.3f})")
    write_text(folder / "README.md", page(cards(folder)))


def errors(measured: PoseMetrics, float_net: PoseMetrics | None, tested_on: str) -> dict[str, Any]:
    """What a card says of the error; of the float network only where it was measured."""
    data = f"{measured.n:,} faces of {tested_on}"
    told: dict[str, Any] = {"mae_deg": measured.mae_deg, "geodesic_deg": measured.geodesic_deg}
    told |= {"n": measured.n, "data": data}
    return told if float_net is None else told | {"float_mae_deg": float_net.mae_deg, "float_data": data}


def released_bytes(folder: Path, besides: str) -> int:
    """Bytes of all released models in a folder, cards and page included, but for one model."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    own = (f"{besides}.tflite", f"{besides}.tflite.gz", f"{besides}.json")
    others = [path for path in files if path.name not in own and path.parent != folder / besides]
    return sum(path.stat().st_size for path in others)


def release_checkpoint(run: Path, folder: Path, name: str, data: str, room_bytes: int) -> dict[str, Any] | None:
    """Copy arch.json and the weights in half precision to FOLDER/NAME; statistics and biases stay in single.

    None, and nothing is there, where they are larger than `room_bytes`. ModelNameError where half precision would move
    the poses of faces in `data`.
    """
    import numpy as np
    from safetensors.torch import load_file, save_file

    from hpe.data.faces import load_faces
    from hpe.deploy.samples import PARITY_SAMPLES, random_crops
    from hpe.model.net import load_model, outputs_of

    weights = {key: tensor.half() if tensor.dim() > 1 else tensor for key, tensor in load_file(run / WEIGHTS).items()}
    crops = random_crops(load_faces(data), PARITY_SAMPLES)
    target = folder / name
    with tempfile.TemporaryDirectory() as temporary:
        shutil.copyfile(run / "arch.json", Path(temporary, "arch.json"))
        save_file(weights, Path(temporary, WEIGHTS))
        moved = np.abs(outputs_of(load_model(temporary), crops) - outputs_of(load_model(run), crops)).mean()
        if sum(path.stat().st_size for path in Path(temporary).iterdir()) > room_bytes:
            shutil.rmtree(target, ignore_errors=True)  # of an earlier release
            return None
        if moved > CHECKPOINT_TOLERANCE_DEG:
            raise ModelNameError(
                f"{run}: half precision moves its poses by {moved:.3f} deg; --no-checkpoint leaves the weights out"
            )
        for file in ("arch.json", WEIGHTS):
            write_whole(target / file, lambda path, file=file: shutil.copyfile(Path(temporary, file), path))
    return {"folder": name, "sha256": digest(target / WEIGHTS), "size_bytes": (target / WEIGHTS).stat().st_size}


def needs(file: Path) -> dict[str, Any]:
    """arena_bytes of a full-int8 .tflite on a Cortex-M (None for others), and the boards that the file fits."""
    from export.errors import ModelFileError
    from export.micro.arena import plan_arena
    from export.micro.boards import BOARDS
    from export.micro.flatbuffer import read_model
    from export.micro.footprint import footprint
    from export.micro.tflm import check_int8

    try:
        check_int8(read_model(file))
        arena = plan_arena(read_model(file)).arena_bytes
        boards = list(BOARDS)
    except ModelFileError:  # floating point: Linux only
        arena, boards = None, [name for name, board in BOARDS.items() if board.is_linux]
    return {"arena_bytes": arena, "boards": [name for name in boards if footprint(file, name).fits]}


PARAGRAPHS = {
    "Tested on": "data",
    "Float error measured on": "float_data",
    "Protocol": "protocol",
    "Trained on": "trained_on",
    "Limits": "limits",
    "Where the data come from": "provenance",
}
"""Below the table of `page`: heading, and the key of the card that it shows."""


def page(known: dict[str, dict[str, Any]]) -> str:
    """The cards as a Markdown page."""
    lines = [
        "# Released models",
        "",
        "Written by `python -m hpe.deploy.release`; `NAME.json` holds each card in full.",
        "",
    ]
    headings = ("model", "file", "bytes", "gzip", "parameters", "non-zeros", "MMAC", "arena", "MAE deg", "float deg")
    rows = []
    for name, card in known.items():
        arena = "-" if card["arena_bytes"] is None else f"{card['arena_bytes']:,}"
        cells = [name, card["format"], f"{card['size_bytes']:,}", f"{card['gzip_bytes']:,}", f"{card['params']:,}"]
        cells += [f"{card['nonzeros']:,}", f"{card['macs'] / 1e6:.2f}", arena, f"{card['mae_deg']['mean']:.2f}"]
        rows.append([*cells, f"{card['float_mae_deg']['mean']:.2f}", ", ".join(card["boards"])])
    lines.append(markdown_table((*headings, "fits"), rows, text=2))
    for title, key in PARAGRAPHS.items():
        for text in dict.fromkeys(card[key] for card in known.values()):
            names = [name for name, card in known.items() if card[key] == text]
            whose = "" if len(names) == len(known) else f" ({', '.join(names)})"
            lines += ["", f"**{title}{whose}.** {text[:1].upper()}{text[1:]}"]
    return "\n".join(lines) + "\n"


def main() -> None:
    options = tyro.cli(
        Annotated[ReleaseOptions, tyro.conf.subcommand("add")]
        | Annotated[MeasureOptions, tyro.conf.subcommand("measure")],
        description=__doc__,
    )
    if isinstance(options, MeasureOptions):
        measure(options)
        return
    card = release(options)
    print(f"{card['name']}: {card['size_bytes']:,} bytes, {card['gzip_bytes']:,} after gzip -9; MAE "
          f"{card['mae_deg']['mean']:.3f} deg, float {card['float_mae_deg']['mean']:.3f}; fits "
          f"{', '.join(card['boards'])}")  # fmt: skip


if __name__ == "__main__":
    main()

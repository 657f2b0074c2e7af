"""What the page's own program (page/page.js) knows: models, boards, and which differences were tested."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from hpe.io.script_json import script_json
from hpe.study.plots import family
from hpe.study.report_chapters import Data
from hpe.study.report_rows import Row

FIRST = "nano33ble"
"""The board that the page opens with, where it was measured."""


def page_data(found: Sequence[Data], machine: str) -> str:
    """JSON that can stand inside a <script> element: what was found on each set of test faces."""
    sets = [_set(data) for data in found]
    boards = {board for data in found for row in data.rows for board in row["boards"]}
    return script_json({"places": _places(boards, machine), "sets": sets})


def _set(data: Data) -> dict[str, Any]:
    draws, known = data.draws, [row for row in data.rows if row["int8_mae_deg"] is not None]
    drawn = set() if draws is None else {row["model"] for row in known if (row["model"], "int8") in draws.drawn}
    pairs, faces_alone = {}, True
    for (i, a), (j, b) in combinations(enumerate(known), 2):
        if draws is not None and a["model"] in drawn and b["model"] in drawn:
            result = draws.compare(((a["model"], "int8"), (b["model"], "int8")))
            faces_alone = result.faces_alone
            pairs[f"{i},{j}"] = [
                round(number, 4) for number in (result.low_deg, result.high_deg, result.standard_error_deg)
            ]
    chosen_by = None if data.chosen_by == data.spec else data.chosen_by
    models = [_model(row) for row in known]
    return {"spec": data.spec, "chosenBy": chosen_by, "models": models, "pairs": pairs, "facesAlone": faces_alone}


def _model(row: Row) -> dict[str, Any]:
    boards = {
        board: {engine: _cost(cost) for engine, cost in engines.items()} for board, engines in row["boards"].items()
    }
    sd = row["int8_mae_deg_sd"]
    return {
        "name": row["model"],
        "family": family(row["family"]),
        "role": row["role"],
        "n": row["n"],
        "error": round(row["int8_mae_deg"], 4),
        "sd": None if sd is None else round(sd, 4),
        "choice": round(row["choice_mae_deg"], 4),
        "bytes": _bytes(row["int8_mb"]),
        "gzip": _bytes(row["int8_gzip_mb"]),
        "ms": row["int8_ms"],
        "short": bool(row["int8_ms_short"]),
        "boards": boards,
    }


def _cost(cost: Row) -> dict[str, Any]:
    named = {"flash": cost["flash_bytes"], "ram": cost["ram_bytes"], "ms": cost["ms"]}
    return {"fits": cost["fits"], "source": cost["source"], **named}


def _bytes(megabytes: float | None) -> int | None:
    return None if megabytes is None else round(megabytes * 1e6)


def _places(boards: set[str], machine: str) -> list[dict[str, Any]]:
    """Where a model can run, the one to begin with first."""
    from export.micro.boards import BOARDS

    places = []
    for name in sorted(boards, key=[FIRST, *BOARDS, *sorted(boards)].index):
        board = BOARDS.get(name)
        engines = {"c": "plain C", "tflm": "LiteRT" if board and board.is_linux else "TensorFlow Lite Micro"}
        place = {"board": name, "title": board.title if board else name, "engines": engines}
        places.append(place | {"flash": board.flash_bytes if board else 0, "ram": board.ram_bytes if board else 0})
    return [*places, {"board": None, "title": f"A computer like the one that measured ({machine})"}]

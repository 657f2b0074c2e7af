"""What a twin is pruned to: the figure of the run that it is to equal, converted into what can be aimed at.

Pruning aims at multiply-accumulates, estimated cycles or estimated int8 bytes, in proportion to those of the dense
network; gzip bytes and flash are taken as int8 bytes. What was reached stands in the result, as measured.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hpe.io.files import read_json
from hpe.model.config import ModelConfig
from hpe.study.folder import StudyFolder
from hpe.study.measure import INT8
from hpe.study.planned import RunSettings, TwinTarget
from hpe.study.spec import StudyError

WIDTHS = 100
"""Widths are tried in hundredths, up to the network's own."""


def settle_twin(folder: StudyFolder, settings: RunSettings) -> RunSettings:
    """The settings with a target (channel) or a width, from the results of the runs that it depends on."""
    twin = settings.twin
    assert twin is not None
    other, dense = (read_json(folder.run(name) / "result.json") for name in (twin.of, twin.dense))
    measure = twin.aim
    target = round(figure(other, twin) / figure(dense, twin) * estimated(settings.model, measure))
    if twin.family == "width":
        return replace(settings, model=replace(settings.model, width=narrowed(settings.model, measure, target)))
    assert settings.prune is not None
    channels = replace(settings.prune.channels, ranking=settings.prune.channels.ranking or "local")  # for all alike
    prune = replace(settings.prune, channels=channels, **{f"target_{measure}": target})
    return replace(settings, prune=prune)


def estimated(model: ModelConfig, measure: str) -> float:
    """What a network of a config has of a measure that pruning can aim at: macs, cycles or int8_bytes."""
    from hpe.model.net import build_model, example_input
    from hpe.training.latency import cortex_m4_price, network_latency
    from pruning.stats import stats

    network = build_model(replace(model, pretrained=False))
    if measure == "cycles":
        return network_latency(network, cortex_m4_price(network))
    return getattr(stats(network, example_input()), measure)


def figure(result: dict[str, Any], twin: TwinTarget) -> float:
    """What a run has of the measure in which a twin is to equal it.

    Raises:
        StudyError: if it was not measured.
    """
    try:
        found = _measured(result, twin)
    except KeyError:
        found = None
    if found is None:
        row = result.get("study", {}).get("row", "?")
        on, board = (f" on {twin.board}", twin.board) if twin.equal in ("flash", "cycles") else ("", "")
        remedy = f"; `hpe footprint RUN/{INT8} --board {board}` measures it" if board else ""
        raise StudyError(f"'{row}' has no {twin.equal}{on} to be equal to: its result.json does not hold it{remedy}")
    return found


def _measured(result: dict[str, Any], twin: TwinTarget) -> float | None:
    if twin.equal == "macs":
        return result["nonzero_macs"]
    if twin.equal in ("flash", "cycles"):
        name = "flash_bytes" if twin.equal == "flash" else "cycles"
        return result["footprint"][twin.board]["c"][name]
    return result["files"][INT8]["gzip_bytes" if twin.equal == "int8_gzip_bytes" else "size_bytes"]


def narrowed(model: ModelConfig, measure: str, target: int) -> float:
    """The greatest width, in hundredths, at which a network has no more than `target` of a measure."""
    low, high = 1, round(WIDTHS * model.width) + 1  # low fits
    while high - low > 1:
        middle = (low + high) // 2
        fits = estimated(replace(model, width=middle / WIDTHS), measure) <= target
        low, high = (middle, high) if fits else (low, middle)
    return low / WIDTHS

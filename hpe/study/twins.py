"""What a twin is pruned to: the figure of the run that it is to equal, converted into what can be aimed at.

Pruning aims at estimated int8 bytes or multiply-accumulates. Other figures are taken in proportion to those of the
dense network: gzip bytes and flash as int8 bytes, cycles as multiply-accumulates. What was reached stands in the
result, as measured.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hpe.io.files import read_json
from hpe.study.folder import StudyFolder
from hpe.study.measure import INT8
from hpe.study.planned import RunSettings, TwinTarget
from hpe.study.spec import StudyError

WIDTHS = 100
"""Widths are tried in hundredths."""


def settle_twin(folder: StudyFolder, settings: RunSettings) -> RunSettings:
    """The settings with a target (channel) or a width, from the results of the runs that it depends on."""
    twin = settings.twin
    assert twin is not None
    other, dense = (read_json(folder.run(name) / "result.json") for name in (twin.of, twin.dense))
    share = figure(other, twin) / figure(dense, twin)
    if twin.equal in ("macs", "cycles"):
        measure, whole = "macs", dense["macs"]
    else:
        from hpe.model.net import build_model, example_input
        from pruning.stats import stats

        measure, whole = "int8_bytes", stats(build_model(settings.model), example_input()).int8_bytes
    target = round(share * whole)
    if twin.family == "width":
        return replace(settings, model=replace(settings.model, width=narrowed(settings, measure, target)))
    assert settings.prune is not None
    return replace(settings, prune=replace(settings.prune, **{f"target_{measure}": target}))


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
        raise StudyError(f"'{row}' has no {twin.equal} to be equal to; its result.json does not hold it")
    return found


def _measured(result: dict[str, Any], twin: TwinTarget) -> float | None:
    if twin.equal == "macs":
        return result["nonzero_macs"]
    if twin.equal in ("flash", "cycles"):
        name = "flash_bytes" if twin.equal == "flash" else "cycles"
        return result["footprint"][twin.board]["c"][name]
    return result["files"][INT8]["gzip_bytes" if twin.equal == "int8_gzip_bytes" else "size_bytes"]


def narrowed(settings: RunSettings, measure: str, target: int) -> float:
    """The greatest width, in hundredths, at which a network has no more than `target` of a measure."""
    from hpe.model.net import build_model, example_input
    from pruning.stats import stats

    low, high = 1, WIDTHS  # low fits
    while high - low > 1:
        middle = (low + high) // 2
        counts = stats(build_model(replace(settings.model, width=middle / WIDTHS)), example_input())
        low, high = (middle, high) if getattr(counts, measure) <= target else (low, middle)
    return low / WIDTHS

"""A twin ends with the share of the dense network that the run has which it is to equal."""

from dataclasses import replace

import pytest
import torch

from hpe.io.files import write_json
from hpe.model.config import ModelConfig
from hpe.model.net import build_model
from hpe.study.folder import StudyFolder
from hpe.study.planned import RunSettings, TwinTarget
from hpe.study.twins import estimated, narrowed, settle_twin
from hpe.training.config import Recipe
from hpe.training.latency import cortex_m4_price, network_latency
from hpe.training.pruners import make_pruner
from hpe.training.pruning_config import ChannelConfig, PruneConfig

MODEL = ModelConfig(width=0.35)
PRUNE = PruneConfig("channel", "constant", begin_epoch=0, end_epoch=1, frequency=1)
SHARE = 0.6


def settled(tmp_path, equal, family, given=PRUNE):
    """The settings of a twin of a run that has SHARE of all that the dense one has."""
    folder = StudyFolder(tmp_path)
    for name, share in (("dense", 1.0), ("masked", SHARE)):
        board = {"nano33ble": {"c": {"flash_bytes": round(share * 1e6), "cycles": round(share * 1e7)}}}
        sizes = {"model_int8.tflite": {"size_bytes": 1_200_000, "gzip_bytes": round(share * 1e6)}}
        result = {"macs": 10**7, "nonzero_macs": round(share * 1e7), "footprint": board, "files": sizes}
        write_json(folder.run(name) / "result.json", result)
    twin = TwinTarget("masked", equal, "dense", family, "nano33ble")
    prune = given if family == "channel" else None
    return settle_twin(folder, RunSettings(MODEL, Recipe("a", "b"), prune, "c", None, ("int8",), twin))


@pytest.mark.parametrize(
    ("equal", "measure"),
    [("macs", "macs"), ("cycles", "cycles"), ("flash", "int8_bytes"), ("int8_gzip_bytes", "int8_bytes")],
)
def test_the_target_is_the_share_of_what_pruning_counts(tmp_path, equal, measure):
    target = getattr(settled(tmp_path, equal, "channel").prune, f"target_{measure}")

    assert target == round(SHARE * estimated(MODEL, measure))


def test_the_target_takes_the_place_of_the_one_that_a_knapsack_was_planned_with(tmp_path):
    planned = replace(PRUNE, target_macs=1, channels=ChannelConfig(ranking="knapsack"))
    prune = settled(tmp_path, "macs", "channel", planned).prune

    assert (prune.target_macs, prune.channels.ranking) == (round(SHARE * estimated(MODEL, "macs")), "knapsack")


def test_channels_are_cut_to_the_share_of_cycles(tmp_path):
    settings = settled(tmp_path, "cycles", "channel")
    assert settings.prune is not None
    torch.manual_seed(0)
    network = build_model(settings.model)
    pruner = make_pruner(network, settings.prune, epochs=1, steps=1)
    pruner.step(torch.optim.SGD(network.parameters(), lr=0.0))

    cycles = network_latency(network, cortex_m4_price(network))
    assert 0.97 * SHARE < cycles / estimated(MODEL, "cycles") <= SHARE


@pytest.mark.parametrize(("equal", "measure"), [("macs", "macs"), ("cycles", "cycles")])
def test_the_narrower_net_is_the_widest_that_fits(tmp_path, equal, measure):
    model = settled(tmp_path, equal, "width").model
    limit = SHARE * estimated(MODEL, measure)

    assert estimated(model, measure) <= limit < estimated(replace(model, width=model.width + 0.01), measure)


@pytest.mark.parametrize(("own", "target", "width"), [(1.4, 1250, 1.25), (0.25, 250, 0.25), (0.25, 900, 0.25)])
def test_widths_are_tried_up_to_the_networks_own(monkeypatch, own, target, width):
    monkeypatch.setattr("hpe.study.twins.estimated", lambda model, measure: round(1000 * model.width))

    assert narrowed(ModelConfig(width=own), "macs", target) == width


def test_channels_are_ranked_alike_whatever_is_equal(tmp_path):
    rankings = {settled(tmp_path / equal, equal, "channel").prune.channels.ranking for equal in ("macs", "cycles")}

    assert rankings == {"local"}

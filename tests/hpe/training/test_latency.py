"""Pruning to a latency: the price of layers against the compiled file's own cost, tables of a machine, targets met."""

import json

import pytest
import torch
from torch import nn

from export.compiler import profile_model
from export.compiler.cost import CYCLES_PER_INSTRUCTION
from export.compiler.graph import Conv, Depthwise
from export.compiler.predict import Shape
from export.compiler.read import read_graph
from export.errors import ExportError
from export.run.layer_files import Operator
from export.run.layer_table import LayerTable, Timed, efficientnet_operators, measure_layers, read_table, write_table
from hpe.io.errors import ConfigError
from hpe.model.config import ModelConfig
from hpe.model.net import build_model, example_input
from hpe.model.zoo import resolve_model
from hpe.training.latency import cortex_m4_price, network_latency, table_price
from hpe.training.pruners import make_pruner
from hpe.training.pruning_config import ChannelConfig, PruneConfig
from pruning.channels.graph import trace
from pruning.channels.pruner import remove
from pruning.channels.surgery import apply_widths, widths
from pruning.stats import stats
from pruning.weights.prunable import prunable_weights

MCU = ModelConfig(act="relu6", se=False, padding="same")


def as_in_file(file):
    """A network with the widths of an int8 file of the same form; the weights are its own."""
    model, order = build_model(MCU).eval(), []
    kinds = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
    for name, module in model.named_modules():
        if isinstance(module, kinds):
            module.register_forward_hook(lambda *_, name=name: order.append(name))
    model(example_input())
    wanted, convs = widths(model), (op for op in read_graph(file).ops if isinstance(op, Conv | Depthwise))
    last = 0
    for name in order:
        if not isinstance(model.get_submodule(name), nn.BatchNorm2d):
            op = next(convs)
            last = op.weights.shape[2] if isinstance(op, Depthwise) else len(op.weights)
            wanted[name] = [last, last if isinstance(op, Depthwise) else op.weights.shape[3]]
        else:
            wanted[name] = [last]
    apply_widths(model, wanted)
    return model


@pytest.mark.parametrize("name", ["b0-nano", "b0-tiny"])
def test_predicted_cycles_are_those_of_the_compiled_file_and_no_less(name):
    file = resolve_model(name)
    real = CYCLES_PER_INSTRUCTION * sum(row["instructions"] for row in profile_model(file))
    model = as_in_file(file)
    assert real <= network_latency(model, cortex_m4_price(model)) <= 1.001 * real


@pytest.mark.parametrize("importance", ["lamp", "random"])
def test_a_target_of_cycles_is_met_on_a_schedule_and_never_exceeded(importance):
    model = build_model(ModelConfig(width=0.25, act="relu6", se=False, padding="same"))
    price = cortex_m4_price(model)
    target = round(0.6 * network_latency(model, price))
    prune = PruneConfig("channel", target_cycles=target, frequency=1, channels=ChannelConfig(importance=importance))
    pruner = make_pruner(model, prune, 3, 1)
    for _ in range(3):
        pruner.step(torch.optim.SGD(model.parameters(), lr=0.0))
    assert 0.97 * target <= network_latency(model, price) <= target
    cut = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.groups == 1]
    assert all(m.out_channels % 4 == 0 for m in cut)
    with pytest.raises(ConfigError, match=r"--target-cycles .* is met .* nothing to prune"):
        make_pruner(model, prune, 3, 1)


@pytest.mark.parametrize("tighter", ["cycles", "int8_bytes"])
def test_of_two_targets_none_is_exceeded_and_the_tighter_one_is_met(tighter):
    model = build_model(ModelConfig(width=0.25, act="relu6", se=False, padding="same"))
    price, shares = cortex_m4_price(model), {"cycles": 0.9, "int8_bytes": 0.9, tighter: 0.6}

    def has():
        return {"cycles": network_latency(model, price), "int8_bytes": stats(model, example_input()).int8_bytes}

    limits = {name: round(share * has()[name]) for name, share in shares.items()}
    targets = {f"target_{name}": limit for name, limit in limits.items()}
    prune = PruneConfig("channel", frequency=1, channels=ChannelConfig(importance="lamp"), **targets)
    pruner = make_pruner(model, prune, 3, 1)
    for _ in range(3):
        pruner.step(torch.optim.SGD(model.parameters(), lr=0.0))
    assert all(has()[name] <= limit for name, limit in limits.items())
    assert has()[tighter] >= 0.95 * limits[tighter]


def table():
    """Of a machine on which a multiply-accumulate takes 0.1 ns, and a layer 50 ns."""
    rows = []
    for operator in efficientnet_operators():
        out = [-(-side // operator.stride) for side in operator.image]
        inputs = 1 if operator.kind == "depthwise" else operator.inputs
        macs = out[0] * out[1] * inputs * operator.outputs * operator.kernel**2
        rows.append(Timed(**vars(operator), ns=50 + 0.1 * macs))
    return LayerTable(rows, 1000.0, {"processor": "made up"})


def test_a_table_is_read_as_written_and_interpolated(tmp_path):
    path = write_table(table(), tmp_path / "t.json")
    again = read_table(path)
    assert again == table()
    shape = Shape("point", 24, 100, (8, 8), (8, 8))
    assert again.layer_ns(shape) == pytest.approx(50 + 0.1 * 24 * 100 * 64)
    with pytest.raises(ExportError, match="no conv of 7x7"):
        again.layer_ns(Shape("windows", 8, 8, (8, 8), (8, 8), kernel=7))
    broken = json.loads(path.read_text())
    broken["layers"][0]["ns"] = -1
    path.write_text(json.dumps(broken))
    with pytest.raises(ExportError, match=r"t\.json: no table of layers .* hpe bench --layers"):
        read_table(path)


def test_a_target_of_milliseconds_is_met_by_the_table(tmp_path):
    path = write_table(table(), tmp_path / "t.json")
    model = build_model(ModelConfig(width=0.25, act="relu6", se=False, padding="same"))
    price = table_price(model, table())
    target_ms = 0.7 * network_latency(model, price) / 1e6
    pruner = make_pruner(model, PruneConfig("channel", target_ms=target_ms, latency_table=path, frequency=1), 3, 1)
    for _ in range(3):
        pruner.step(torch.optim.SGD(model.parameters(), lr=0.0))
    assert 0.95 * target_ms <= network_latency(model, price) / 1e6 <= target_ms
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(ConfigError, match="--latency-table"):
        make_pruner(model, PruneConfig("channel", target_ms=0.01, latency_table=path), 3, 1)


@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize("price_of", [cortex_m4_price, lambda model: table_price(model, table())], ids=["m4", "table"])
def test_what_a_cut_will_leave_is_what_it_leaves(price_of, padding):
    """A depthwise layer narrows with the layer before it, although the graph knows one width of it."""
    model = build_model(ModelConfig(width=0.5, act="relu6", se=False, padding=padding))
    price = price_of(model)
    graph = trace(model, example_input(), price=price)
    removed = [group.size // 2 for group in graph.groups]
    foretold = graph.cost(removed).latency
    remove(model, example_input(), graph, [torch.rand(group.size) for group in graph.groups], removed, None)
    assert network_latency(model, price) == pytest.approx(foretold, rel=1e-6)


@pytest.mark.parametrize("kind", ["conv", "depthwise", "add", "gate", "silu", "mean"])
def test_layers_of_every_kind_run_and_are_timed(kind):
    measured = measure_layers([Operator(kind, (4, 4), 8, 8, 3 if kind == "depthwise" else 1)], {})
    assert measured.layers[0].kind == kind
    assert measured.layers[0].ns > 0


def test_hybrid_meets_its_target_with_channels_and_its_share_with_masks():
    model = build_model(ModelConfig(width=0.25, act="relu6", se=False, padding="same"))
    price = cortex_m4_price(model)
    target = round(0.7 * network_latency(model, price))
    prune = PruneConfig("hybrid", target_cycles=target, final_sparsity=0.75, frequency=1, end_epoch=4)
    pruner = make_pruner(model, prune, 5, 1)
    shares = []
    for _ in range(5):
        pruner.step(torch.optim.SGD(model.parameters(), lr=0.0))
        weights = prunable_weights(model)
        shares.append(
            1 - sum(int(w.count_nonzero()) for w in weights.values()) / sum(map(torch.numel, weights.values()))
        )
    assert 0.95 * target <= network_latency(model, price) <= target
    assert max(shares[:2]) < 0.01
    assert shares[-1] == pytest.approx(0.75, abs=0.01)
    with pytest.raises(ConfigError, match="two epochs of pruning"):
        make_pruner(build_model(ModelConfig(act="relu6")), PruneConfig("hybrid", target_cycles=9, end_epoch=1), 2, 1)

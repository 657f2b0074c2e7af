"""Will XNNPACK's sparse kernels run a file? On graphs written by hand, each with one thing wrong."""

import numpy as np
import pytest

from export import footprint, sparse_speed
from export.micro.flatbuffer import parse_model
from tests.exported import exported
from tests.tiny_models import Graph


class FloatGraph(Graph):
    """Operators in float; weights stored sparsely, as mlir_sparsify does, with a DENSIFY before each convolution."""

    def image(self, side: int, channels: int) -> int:
        return self.tensor([1, side, side, channels], kind="FLOAT32")

    def weights(self, shape: tuple[int, ...], zeros: float, stored_sparsely: bool = True) -> int:
        count = int(np.prod(shape))
        values = self.rng.normal(size=count).astype(np.float32) + 10
        values[: round(count * zeros)] = 0
        if not stored_sparsely:
            return self.tensor(shape, kind="FLOAT32", data=values)
        sparse = self.tensor(shape, kind="FLOAT32", data=values[values != 0])
        self.graph.tensors[sparse].sparsity = self.schema.SparsityParametersT()
        return self.op("DENSIFY", [sparse], self.tensor(shape, kind="FLOAT32"))

    def pad(self, x: int, before: int, after: int) -> int:
        amounts = np.array([[0, 0], [before, after], [before, after], [0, 0]], np.int32)
        side, channels = self.shape(x)[1] + before + after, self.shape(x)[3]
        return self.op("PAD", [x, self.tensor([4, 2], kind="INT32", data=amounts)], self.image(side, channels))

    def convolve(self, x, outputs, size=1, stride=1, same=True, depthwise=False, zeros=0.0, sparsely=True) -> int:
        s, (_, side, _, inputs) = self.schema, self.shape(x)
        shape = (1, size, size, outputs) if depthwise else (outputs, size, size, inputs)
        weights = self.weights(shape, zeros, sparsely and not depthwise and zeros > 0)
        options = s.DepthwiseConv2DOptionsT() if depthwise else s.Conv2DOptionsT()
        options.strideW = options.strideH = stride
        options.dilationWFactor = options.dilationHFactor = 1
        options.padding = s.Padding.SAME if same else s.Padding.VALID
        if depthwise:
            options.depthMultiplier = 1
        out = self.image(-(-side // stride) if same else (side - size) // stride + 1, outputs)
        return self.op("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", [x, weights], out, options)

    def average(self, x: int) -> int:
        axes = self.tensor([2], kind="INT32", data=np.array([1, 2], np.int32))
        options = self.schema.ReducerOptionsT()
        return self.op("MEAN", [x, axes], self.tensor([1, self.shape(x)[3]], kind="FLOAT32"), options)

    def linear(self, x: int, outputs: int) -> int:
        inputs = int(np.prod(self.shape(x)))
        weights = self.weights((outputs, inputs), 0.0, False)
        out = self.tensor([1, outputs], kind="FLOAT32")
        return self.op("FULLY_CONNECTED", [x, weights], out, self.schema.FullyConnectedOptionsT())


def net(
    zeros=0.8, kernel=3, before=1, after=1, stem_same=False, pool=True, sparsely=True, strange=False, channels=3
) -> bytes:
    """Stem, expand, gate, depthwise at stride 2, project, shortcut, average, dense."""
    g = FloatGraph(0)
    x = g.image(32, channels)
    y = x if stem_same else g.pad(x, before, after)
    y = g.convolve(y, 16, 3, 2, same=stem_same)
    y = g.convolve(y, 32, zeros=zeros, sparsely=sparsely)
    y = g.op("MUL", [y, g.op("LOGISTIC", [y], g.image(16, 32))], g.image(16, 32), g.schema.MulOptionsT())
    half = kernel // 2
    y = g.convolve(g.pad(y, half, half), 32, kernel, 2, same=False, depthwise=True)
    y = g.convolve(y, 24, zeros=zeros, sparsely=sparsely)
    if strange:
        y = g.op("MAX_POOL_2D", [y], g.image(8, 24), g.schema.Pool2DOptionsT())
    z = g.convolve(g.convolve(y, 24, 3, depthwise=True), 24, zeros=zeros, sparsely=sparsely)
    y = g.op("ADD", [y, z], g.image(8, 24), g.schema.AddOptionsT())
    flat = [1, 8 * 8 * 24]
    y = g.average(y) if pool else g.op("RESHAPE", [y], g.tensor(flat, kind="FLOAT32"))
    return g.finish(x, g.linear(y, 3))


@pytest.mark.parametrize("kernel", [3, 5])
def test_a_net_as_xnnpack_wants_it(kernel):
    speed = sparse_speed(parse_model(net(kernel=kernel)))
    assert (speed.engages, speed.promises, speed.reason) == (True, True, "")
    assert speed.zeros == pytest.approx(0.8, abs=0.01)
    assert "80% zeros" in speed.line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"stem_same": True},
            r"^operator 0 \(CONV_2D\): 3x3, stride 2, padding SAME; it must be 1 .*--simplify-for",
        ),
        ({"before": 0, "after": 2}, r"^operator 1 \(CONV_2D\): .*top 0, bottom 2, left 0, right 2"),
        ({"channels": 4}, r"^operator 1 \(CONV_2D\): .* 4 channels; it must be 1x1, or 3x3"),
        ({"kernel": 7}, r"\(DEPTHWISE_CONV_2D\): 7x7, stride 2, padding 3; a depthwise one must be 3x3 or 5x5"),
        ({"strange": True}, r"\(MAX_POOL_2D\): it has no kernel there"),
        ({"pool": False}, r"\(RESHAPE\): it has no kernel there; average over the pixels"),
        ({"zeros": 0.66}, "^fewer than two thirds are zero; mask with hpe prune --zeros-for pi"),
        ({"sparsely": False}, "^its weights are not stored sparsely; export with --formats sparse"),
    ],
)
def test_the_first_thing_that_is_wrong_is_named(options, words):
    speed = sparse_speed(parse_model(net(**options)))
    assert not speed.engages
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(speed.reason)
    assert speed.reason in speed.line


def test_two_thirds_are_not_enough():
    """XNNPACK asks for more: 3 * zeros > 2 * weights. 512 + 768 + 576 weights here, and 72 of the dense layer."""
    engages = {share: sparse_speed(parse_model(net(zeros=share))).engages for share in (0.66, 0.68, 0.7, 0.95)}
    assert engages == {0.66: False, 0.68: False, 0.7: True, 0.95: True}


def test_int8_and_nets_without_zeros_have_nothing_to_say():
    for fmt in ("int8", "int8_sparse", "fp32", "sparse"):
        assert not sparse_speed(exported().files[fmt]).engages
    assert "for float" in sparse_speed(exported().files["int8"]).reason
    dense = sparse_speed(parse_model(net(zeros=0.0)))
    assert (dense.promises, dense.line) == (False, "")


def test_the_footprint_of_a_linux_board_says_so(tmp_path):
    for name, options in {"good": {}, "bad": {"stem_same": True}, "dense": {"zeros": 0.0}}.items():
        (tmp_path / f"{name}.tflite").write_bytes(net(**options))
    notes = {name: footprint(tmp_path / f"{name}.tflite", "pi4").notes for name in ("good", "bad", "dense")}
    assert notes["good"][-1].startswith("XNNPACK's sparse kernels run it on Arm")
    assert "operator 0 (CONV_2D)" in notes["bad"][-1]
    assert [note[:22] for note in notes["dense"]] == ["Times are estimated as"]


def test_zeros_that_are_stored_sparsely_cost_a_linux_board_no_time(tmp_path):
    for name, sparsely in {"sparse": True, "dense": False}.items():
        (tmp_path / f"{name}.tflite").write_bytes(net(sparsely=sparsely))
    sparse, dense = (footprint(tmp_path / f"{name}.tflite", "pi4") for name in ("sparse", "dense"))
    assert sparse.engines["litert"]["ms_range"] == dense.engines["litert"]["ms_range"]
    assert sparse.interpreter.activations_bytes == dense.interpreter.activations_bytes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "engages"),
    [
        ({"act": "relu6", "se": False}, True),
        ({}, True),
        ({"act": "relu6", "se": False, "padding": "same"}, False),
        ({"act": "relu6", "se": False, "head": "paper"}, False),
    ],
)
def test_efficientnets_as_they_are_exported(options, engages, tmp_path):
    """What these do on an emulated Pi stands in benchmarks/results/emulated_pi_speed_cortex-a72_202611.md."""
    from export import convert, export_onnx
    from hpe.model.config import ModelConfig
    from hpe.model.net import build_model, example_input
    from pruning import apply_masks, closed_doors, make_masks, prunable_weights, zeros_for

    model = build_model(ModelConfig(**options)).eval()
    weights = prunable_weights(model, policy=zeros_for("pi", model, example_input()))
    apply_masks(model, make_masks({name: weight.detach().abs() for name, weight in weights.items()}, 0.8))
    files = convert(export_onnx(model, example_input(), tmp_path / "b0.onnx"), tmp_path, ("sparse",))
    assert sparse_speed(files["sparse"]).engages == engages
    assert (closed_doors(model, example_input()) == []) == engages  # what torch's modules say agrees

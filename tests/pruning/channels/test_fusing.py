"""torch's own attention: what replaces it does the same; once cut, it does what torch's does without those heads."""

import copy

import pytest
import torch
from torch import nn

from pruning.channels.fusing import UNSUPPORTED, FusedAttention, fuse_attentions
from pruning.channels.pruner import ChannelPruner, apply_widths, prune_channels, widths
from pruning.channels.target import Criteria, Target
from pruning.errors import PruningError
from pruning.schedule import PolynomialDecay
from pruning.stats import stats
from pruning.weights.prunable import prunable_weights
from tests.tied_nets import Head, TorchEncoder, torch_encoder

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
PADDING = torch.arange(16) >= torch.tensor([[16], [11]])  # (2, 16)
CAUSAL = torch.ones(16, 16).triu(1).bool()
FLOATS = torch.randn(16, 16, generator=torch.Generator().manual_seed(2))
HEADS_ALONE = Criteria(min_channels=1, ignored=["embed", "*.linear1"])


def attention(**options):
    torch.manual_seed(0)
    made = nn.MultiheadAttention(32, 4, **options)
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    return made.eval()


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(
    "masks",
    [
        {},
        {"key_padding_mask": PADDING},
        {"attn_mask": FLOATS},
        {"attn_mask": CAUSAL, "is_causal": True},
        {"attn_mask": CAUSAL, "key_padding_mask": PADDING},
        {"attn_mask": torch.stack([CAUSAL.T] * 4 + [CAUSAL] * 4), "average_attn_weights": False},
    ],
    ids=["none", "padding", "float", "causal", "both", "by heads"],
)
def test_the_fused_attention_gives_what_torchs_does(masks, batch_first, need_weights):
    for bias in (True, False):
        torchs = attention(batch_first=batch_first, bias=bias)
        x = torch.randn(2, 16, 32) if batch_first else torch.randn(16, 2, 32)
        wanted, weights = torchs(x, x, x, need_weights=need_weights, **masks)
        found, found_weights = FusedAttention(torchs)(x, x, x, need_weights=need_weights, **masks)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found_weights, weights, rtol=1e-5, atol=1e-6)


def test_one_sequence_without_a_batch():
    torchs, x = attention(), torch.randn(16, 32)
    for masks in ({}, {"key_padding_mask": PADDING[1], "attn_mask": FLOATS > 1}):
        for found, wanted in zip(FusedAttention(torchs)(x, x, x, **masks), torchs(x, x, x, **masks), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_what_it_cannot_do_it_refuses():
    fused, x = FusedAttention(attention()), torch.randn(16, 2, 32)
    with pytest.raises(PruningError, match="one tensor"):
        fused(x, x.clone(), x)
    with pytest.raises(PruningError, match="give the mask"):
        fused(x, x, x, is_causal=True)


def without_heads(dense, kept):
    """torch's own net, in which nothing reads the heads that were cut."""
    for name, axes in kept.items():
        if name.endswith(".proj"):
            gone = sorted(set(range(32)) - set(axes["in"].tolist()))
            dense.get_submodule(name.removesuffix("proj") + "out_proj").weight.data[:, gone] = 0
    return dense


@pytest.mark.parametrize("options", [{}, {"batch_first": False}, {"bias": False}, {"norm_first": True}], ids=str)
def test_a_cut_encoder_is_torchs_own_without_these_heads_and_is_counted(options):
    dense, pruned = torch_encoder(**options), torch_encoder(**options)
    report = prune_channels(pruned, X[:1], Target(ratio=0.5), HEADS_ALONE)
    layer = pruned.encoder.layers[0]
    assert (layer.self_attn.num_heads, tuple(layer.self_attn.qkv.weight.shape)) == (2, (48, 32))
    without_heads(dense, report.kept)
    for masks in ({}, {"src_key_padding_mask": PADDING}, {"mask": CAUSAL}):
        with torch.no_grad():  # the dense one takes torch's fast path, where it has one
            torch.testing.assert_close(pruned(X, **masks), dense(X, **masks), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pruned(X), dense(X), rtol=1e-4, atol=1e-5)
    before, after = stats(torch_encoder(**options), X), stats(pruned, X)
    heads = 2 * 4 * 32 * 16 * 16  # layers, matrices, width, gone, positions
    assert before.macs == report.before.macs == 3 * 16 * 32 * 16 + 2 * 16 * (4 * 32 * 32 + 2 * 32 * 64) + 32 * 3
    assert after.macs == report.after.macs == before.macs - heads
    assert before.params == report.before.params == sum(p.numel() for p in dense.parameters())
    assert after.params == report.after.params == sum(p.numel() for p in pruned.parameters())


def test_the_optimiser_goes_on_and_masks_reach_the_projections():
    model = torch_encoder(dropout=0.0).train()
    optimizer = torch.optim.Adam(model.parameters())
    pruner = ChannelPruner(model, X[:1], PolynomialDecay(0.0, 0.5, 1, 2, frequency=1), Criteria(min_channels=1))
    for _ in range(3):
        optimizer.zero_grad()
        model(X).square().mean().backward()
        optimizer.step()
        pruner.step(optimizer)
    assert model.encoder.layers[1].self_attn.num_heads == 2
    assert {id(p) for p in model.parameters()} == {id(p) for p in optimizer.param_groups[0]["params"]}
    assert all(optimizer.state[p]["exp_avg"].shape == p.shape for p in model.parameters())
    weights = prunable_weights(model, include=["encoder.layers.0.self_attn"])
    assert [name.split(".", 4)[-1] for name in weights] == ["qkv.weight", "proj.weight"]
    again = TorchEncoder()
    apply_widths(again, widths(model))
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(X), model.eval()(X))


class Around(nn.Module):
    """One attention, called in a way of its own."""

    def __init__(self, call, **options):
        super().__init__()
        self.embed, self.call = nn.Conv2d(3, 32, 4, stride=4), call
        self.attention = attention(batch_first=True, **options)
        self.inner, self.head = nn.Linear(32, 8), Head(8)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        return self.head(self.inner(self.call(self.attention, x)))


WHOLE = {
    "keys": (lambda attention, x: attention(x, x[:, :5], x[:, :5])[0], {}),
    "kdim": (lambda attention, x: attention(x, x[..., :8], x[..., :8])[0], {"kdim": 8, "vdim": 8}),
    "added keys": (lambda attention, x: attention(x, x, x)[0], {"add_bias_kv": True}),
    "reads torch's": (lambda attention, x: attention(x, x, x)[0] * attention.in_proj_weight.mean(), {}),
}


@pytest.mark.parametrize("name", WHOLE)
def test_other_attentions_stay_whole_with_a_reason(name):
    call, options = WHOLE[name]
    model = Around(call, **options).eval()
    before = copy.deepcopy(model.attention.state_dict())
    report = prune_channels(model, X[:1], Target(ratio=0.5))
    assert report.left_out["attention"] == UNSUPPORTED
    assert report.widths == {"inner": (8, 4)}
    assert all(torch.equal(value, before[key]) for key, value in model.attention.state_dict().items())
    keys, width = (5, 32) if name == "keys" else (16, 8 if name == "kdim" else 32)
    macs = 3 * 16 * 32 * 16 + 32 * (2 * 16 * 32 + 2 * keys * width) + 16 * 32 * 4 + 4 * 3
    assert report.after.macs == stats(model, X[:1]).macs == macs
    assert report.after.params == sum(p.numel() for p in model.parameters())


def test_weights_that_the_model_reads_keep_all_heads():
    def gated(attention, x):
        out, weights = attention(x, x, x)
        return out * weights[..., :1]

    model = Around(gated).eval()
    report = prune_channels(model, X[:1], Target(ratio=0.5), Criteria(min_channels=1))
    assert report.left_out["attention.proj"] == "cutting it changes what the rest of the model does"
    assert model.attention.num_heads == 4


def test_shared_attentions_are_replaced_under_all_their_names():
    model = torch_encoder()
    model.encoder.layers[1].self_attn = model.encoder.layers[0].self_attn
    with torch.no_grad():
        wanted = model(X)
        fuse_attentions(model, X)
        torch.testing.assert_close(model(X), wanted, rtol=1e-5, atol=1e-5)
    assert model.encoder.layers[1].self_attn is model.encoder.layers[0].self_attn
    assert isinstance(model.encoder.layers[0].self_attn, FusedAttention)


class Padded(nn.Module):
    """Padding as nn.TransformerEncoder's nested tensors take it; its positions may be read, or not."""

    def __init__(self, reads_padding):
        super().__init__()
        self.embed, self.last, self.reads_padding = nn.Linear(8, 32), nn.Linear(32, 3), reads_padding
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, x):  # (B, 16, 8)
        x = self.encoder(self.embed(x), src_key_padding_mask=PADDING)
        return self.last((x if self.reads_padding else x[:, :11]).mean(1))


@pytest.mark.parametrize("reads_padding", [False, True])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_an_encoder_whose_padded_positions_are_read_stays_torchs(reads_padding):
    torch.manual_seed(0)
    model, x = Padded(reads_padding).eval(), torch.randn(2, 16, 8)
    with torch.no_grad():
        wanted = model(x)
        fuse_attentions(model, x)
        torch.testing.assert_close(model(x), wanted, rtol=1e-5, atol=1e-5)
    assert isinstance(model.encoder.layers[0].self_attn, FusedAttention) != reads_padding


def test_a_cut_encoder_is_exported(tmp_path):
    import onnxruntime

    from export import export_onnx

    model = torch_encoder()
    prune_channels(model, X[:1], Target(ratio=0.5), Criteria(min_channels=1))
    session = onnxruntime.InferenceSession(export_onnx(model, X[:1], tmp_path / "net.onnx"))
    (found,) = session.run(None, {session.get_inputs()[0].name: X[:1].numpy()})
    torch.testing.assert_close(torch.as_tensor(found), model(X[:1]).detach(), rtol=1e-4, atol=1e-5)

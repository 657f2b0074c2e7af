"""The runs that train: what each keeps of the one before, and what is refused."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import export  # noqa: F401 - so that its modules can be patched
from export.errors import ExportError
from hpe.data.faces import Faces, load_faces
from hpe.deploy.export import run_export
from hpe.io.errors import ConfigError
from hpe.io.files import read_json
from hpe.model.config import ModelConfig
from hpe.model.net import build_model, example_input, load_model, save_checkpoint
from hpe.model.preprocess import preprocess
from hpe.pose.crop import centre_crop
from hpe.training.config import DistillConfig, FinetuneConfig, Recipe, TrainConfig
from hpe.training.distillation import relabelled
from hpe.training.loop import fit
from hpe.training.pruners import make_pruner, training_batches
from hpe.training.pruning_config import ChannelConfig, MaskConfig, PruneConfig
from hpe.training.runs import run_finetune, run_prune, run_train
from pruning.stats import stats
from pruning.weights.masks import share_of_zeros
from pruning.weights.prunable import prunable_weights
from tests.conftest import TINY_DATA

RECIPE = Recipe(TINY_DATA, train=TrainConfig(epochs=1, batch_size=16, lr=1e-4))


def quiet(line):
    pass


def zeros(model):
    return {name: weight == 0 for name, weight in prunable_weights(model, depthwise=True).items()}


@pytest.fixture(scope="module")
def masked(tiny_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "masked"
    return run_prune(tiny_run, out, PruneConfig("magnitude", frequency=1), RECIPE, report=quiet)


@pytest.fixture(scope="module")
def small(tiny_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "small"
    recipe = replace(RECIPE, distill=DistillConfig(tiny_run, 0.7, True, 0.5))
    return run_prune(tiny_run, out, PruneConfig("channel", target_macs=5_000_000, frequency=1), recipe, report=quiet)


@pytest.mark.parametrize("tune", [FinetuneConfig(), FinetuneConfig(qat=True), FinetuneConfig(clusters=4)])
def test_finetuning_keeps_the_zeros_and_changes_the_rest(masked, tmp_path, tune):
    model = load_model(run_finetune(masked, tmp_path / "tuned", tune, RECIPE, report=quiet))
    before, after = zeros(load_model(masked)), zeros(model)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not torch.equal(model.backbone.conv_stem.weight, load_model(masked).backbone.conv_stem.weight)
    if tune.clusters:
        assert len(model.backbone.conv_head.weight.unique()) <= 4
    assert read_json(tmp_path / "tuned" / "config.json")["finetune"]["qat"] is tune.qat


def test_quantisation_aware_finetuning_keeps_widths_and_its_ranges_reach_the_export(
    small, tiny_run, tmp_path, monkeypatch
):
    recipe = replace(RECIPE, distill=DistillConfig(tiny_run), val=TINY_DATA)
    out = run_finetune(small, tmp_path / "qat", FinetuneConfig(qat=True), recipe, report=quiet)
    shapes = [{n: t.shape for n, t in load_model(run).state_dict().items()} for run in (small, out)]
    assert shapes[0] == shapes[1]
    assert read_json(out / "result.json")["val"]["n"] == 48

    class Enough(Exception):
        pass

    def convert_all(conversions):
        given.extend((one.calibration, one.ranges) for one in conversions)
        raise Enough

    given = []
    monkeypatch.setattr(sys.modules["export.convert.onnx"], "export_onnx", lambda network, x, path: path)
    monkeypatch.setattr(sys.modules["export.convert.tflite"], "convert_all", convert_all)
    learnt = read_json(out / "ranges.json")
    for run in (out, small):
        with pytest.raises(Enough):
            run_export(run, report=quiet)
    calibration, ranges = given[0]
    assert [[low, high] for _, low, high in ranges] == list(learnt.values())
    np.testing.assert_allclose(ranges[0][0].transpose(0, 2, 3, 1), calibration[: len(ranges[0][0])], atol=1e-6)
    assert given[1][1] is None  # no quantisation-aware training there


def test_norms_are_re_estimated_on_batches_as_in_training():
    faces = load_faces(TINY_DATA)
    first, again = (list(training_batches(faces, RECIPE)) for _ in range(2))
    assert [tuple(batch.shape) for batch in first] == [(16, 3, 64, 64)] * 3
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    larger = replace(RECIPE, train=replace(RECIPE.train, batch_size=20))
    assert [len(batch) for batch in training_batches(faces, larger)] == [20, 20]  # the rest of 8 would weigh as much
    plain = torch.from_numpy(preprocess(centre_crop(faces.images))).permute(0, 3, 1, 2)
    assert abs(torch.cat(first).mean() - plain.mean()) < 0.3
    assert (torch.cat(first)[:, None] - plain[None]).abs().amax((2, 3, 4)).min() > 0.01  # augmented


def test_a_teacher_asked_once_replaces_doubtful_labels_and_leaves_exact_ones(tiny_run):
    crops = load_faces("synthetic:easy:6:3").images
    truth = np.full((6, 3), 10.0, np.float32)
    faces = Faces(crops, truth, [*(f"{i}.jpg" for i in range(4)), "synthetic:easy:3:4", "synthetic:easy:3:5"])
    teacher = load_model(tiny_run).eval()
    seen = preprocess(centre_crop(crops[:4])).transpose(0, 3, 1, 2)  # (4, 3, 64, 64)
    with torch.inference_mode():
        plain = teacher(torch.from_numpy(seen)).numpy()
        mirrored = teacher(torch.from_numpy(seen[..., ::-1].copy())).numpy() * [-1, 1, -1]
    for flip, answer in ((False, plain), (True, (plain + mirrored) / 2)):
        mixed = relabelled(faces, teacher, DistillConfig(tiny_run, 0.75, teacher_flip_tta=flip, teacher_offline=True))
        np.testing.assert_allclose(mixed.pose_deg[:4], 0.25 * truth[:4] + 0.75 * answer, atol=1e-3)
        np.testing.assert_array_equal(mixed.pose_deg[4:], truth[4:])
    assert (faces.pose_deg == 10).all()


def test_a_run_with_a_teacher_asked_once_equals_one_on_its_labels_where_labels_are_exact(tiny_run, tmp_path):
    recipe = replace(RECIPE, distill=DistillConfig(tiny_run, teacher_offline=True))
    runs = [
        run_finetune(tiny_run, tmp_path / name, FinetuneConfig(), r, report=quiet)
        for name, r in (("once", recipe), ("labels", RECIPE))
    ]
    weights = [load_model(run).state_dict() for run in runs]
    assert all(torch.equal(weights[0][name], tensor) for name, tensor in weights[1].items())


def test_rewinding_gives_early_weights_under_late_masks(masked, tiny_run, small, tmp_path, monkeypatch):
    started = {}

    def remember(state, *arguments, **named):
        started.update({name: tensor.clone() for name, tensor in state.model.state_dict().items()})
        return fit(state, *arguments, **named)

    monkeypatch.setattr("hpe.training.loop.fit", remember)
    run_finetune(masked, tmp_path / "ticket", FinetuneConfig(rewind_to=tiny_run), RECIPE, report=quiet)
    early, masks = load_model(tiny_run).state_dict(), zeros(load_model(masked))
    for name, tensor in early.items():
        expected = torch.where(masks[name], 0.0, tensor) if name in masks else tensor
        assert torch.equal(started[name], expected), name
    with pytest.raises(ConfigError, match="--rewind-to"):
        run_finetune(masked, tmp_path / "x", FinetuneConfig(rewind_to=small), RECIPE, report=quiet)
    other = replace(load_model(tiny_run).config, padding="same")  # the same shapes
    save_checkpoint(build_model(other), tmp_path / "other")
    with pytest.raises(ConfigError, match="--rewind-to"):
        run_finetune(masked, tmp_path / "x", FinetuneConfig(rewind_to=tmp_path / "other"), RECIPE, report=quiet)
    assert not (tmp_path / "x").exists()


def test_blocks_are_dropped_and_stay_dropped(tiny_run, tmp_path):
    lines = []
    out = run_prune(tiny_run, tmp_path / "b", PruneConfig("block", blocks=2), RECIPE, report=lines.append)
    assert lines[0].count("backbone.blocks.") == 2
    assert stats(load_model(out), example_input()).params < stats(load_model(tiny_run), example_input()).params


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("magnitude", ["scope=global", "score=movement"]),
        ("magnitude", ["scope=2:4", "final=0.5", "include=backbone.blocks"]),
        ("magnitude", ["scope=erk", "score=random", "depthwise=1"]),
        ("channel", ["importance=fpgm", "ranking=isomorphic", "round_to=8"]),
        ("channel", ["importance=taylor", "ranking=global", "ignored=backbone.conv_head"]),
        ("channel", ["importance=hessian", "ranking=global", "reconstruct=1"]),
        ("channel", ["importance=sensitivity", "ranking=global"]),
    ],
)
def test_every_kind_of_pruning_runs_from_its_config(tiny_run, method, options):
    from hpe.training.losses import supervised

    values = dict(option.split("=") for option in options)
    final = float(values.pop("final", 0.4))
    values = {k: int(v) if v.isdigit() else (v,) if k in ("include", "ignored") else v for k, v in values.items()}
    family = {"masks": MaskConfig(**values)} if method == "magnitude" else {"channels": ChannelConfig(**values)}
    model = load_model(tiny_run).train()
    pruner = make_pruner(
        model, PruneConfig(method, final_sparsity=final, frequency=1, **family), 2, 1, load_faces(TINY_DATA)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)
    before = stats(model, example_input())
    for _ in range(2):
        images = torch.randn(4, 3, 64, 64)
        loss, _ = supervised(model, images, torch.zeros(4, 3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        pruner.step(optimizer)
    after = stats(model, example_input())
    assert after.nonzeros < 0.9 * before.nonzeros


@pytest.mark.parametrize("grow", [False, True])
def test_a_board_as_target_leaves_a_net_within_its_limits(tiny_run, grow):
    from export.micro.boards import find_board, planned_limits

    limits = planned_limits(find_board("nano33ble"))
    model = load_model(tiny_run)
    prune = PruneConfig(
        "channel", target_board="nano33ble", frequency=None if grow else 1, channels=ChannelConfig(grow=grow)
    )
    pruner = make_pruner(model, prune, 3, 1)
    for _ in range(3):
        pruner.step(torch.optim.SGD(model.parameters(), lr=0.0))
    shares = [getattr(stats(model, example_input()), name) / limit for name, limit in limits.items()]
    assert 0.99 <= max(shares) <= 1
    with pytest.raises(ConfigError, match=r"--target-board nano33ble is met .* nothing to prune"):
        make_pruner(model, prune, 3, 1)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"target_board": "nano"}, "no board 'nano'"),
        ({"target_board": "pi4"}, "--target-board pi4 is met"),
        ({"target_params": 5_000_000}, "--target-params 5,000,000 is met"),
    ],
)
def test_targets_that_ask_for_nothing_are_refused(tiny_run, target, words):
    with pytest.raises((ConfigError, ExportError), match=words):
        make_pruner(load_model(tiny_run), PruneConfig("channel", **target), 3, 200)


def test_growing_regularisation_meets_its_target(tiny_run):
    model = load_model(tiny_run)
    prune = PruneConfig("channel", target_macs=8_000_000, channels=ChannelConfig(grow=True))
    pruner = make_pruner(model, prune, 1, 4)
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(4):
        pruner.step(optimizer)
    assert 0.99 * 8e6 < stats(model, example_input()).macs <= 8e6


def test_a_narrow_net_trains_saves_and_loads(tmp_path):
    out = run_train(tmp_path / "narrow", ModelConfig(width=0.25, act="relu6"), RECIPE, report=quiet)
    model = load_model(out)
    assert model.backbone.conv_head.out_channels == 320
    assert read_json(out / "result.json")["params"] < 600_000
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32))
    assert model(images).shape == (1, 3)


@pytest.mark.parametrize(
    ("make", "flag"),
    [
        (lambda: PruneConfig("channel", masks=replace(PruneConfig("magnitude").masks, scope="erk")), "--scope"),
        (lambda: PruneConfig("magnitude", channels=replace(PruneConfig("channel").channels, grow=True)), "--grow"),
        (lambda: FinetuneConfig(clusters=1), "--clusters"),
        (lambda: FinetuneConfig(clusters=100_000), "--clusters is 100000; it must be 2 to 256"),
        (lambda: DistillConfig(teacher_weight=1.5), "--teacher-weight"),
        (lambda: DistillConfig(feature_weight=1.0), "--feature-weight needs --teacher"),
        (lambda: DistillConfig(teacher_offline=True), "--teacher-offline needs --teacher"),
        (lambda: DistillConfig("teacher", teacher_offline=True, feature_weight=1.0), "leave --teacher-offline out"),
        (lambda: ModelConfig(width=0.0), "--width"),
        (lambda: ModelConfig(width=0.5, pretrained=True), "--pretrained"),
    ],
)
def test_bad_settings_name_the_flag(make, flag):
    with pytest.raises(ConfigError, match=flag):
        make()


@pytest.mark.parametrize(
    "prune",
    [
        PruneConfig("magnitude", final_sparsity=0.6, frequency=1),
        PruneConfig("magnitude", final_sparsity=0.6, frequency=1, masks=MaskConfig(scope="erk", exclude=("head",))),
        PruneConfig("channel", final_sparsity=0.3, frequency=1),
        PruneConfig("channel", final_sparsity=0.3, channels=ChannelConfig(grow=True)),
        PruneConfig("block"),
    ],
)
def test_pruning_a_masked_run_keeps_its_zeros(masked, tmp_path, prune):
    """Zeros came back: a lower share was masked than the parent had, and other methods held nothing at zero."""
    recipe = replace(RECIPE, train=replace(RECIPE.train, epochs=2))
    parent, child = load_model(masked), load_model(run_prune(masked, tmp_path / "again", prune, recipe, report=quiet))
    if prune.method == "magnitude":
        before, after = zeros(parent), zeros(child)
        assert all(bool(after[name][was].all()) for name, was in before.items())
        assert sum(int(z.sum()) for z in after.values()) > sum(int(z.sum()) for z in before.values())
    else:
        share = share_of_zeros(prunable_weights(child))
        assert share > 0.8 * share_of_zeros(prunable_weights(parent))


@pytest.mark.parametrize(
    ("prune", "words"),
    [
        (PruneConfig("magnitude", final_sparsity=0.4), "--final-sparsity 0.4 leaves nothing to prune"),
        (PruneConfig("magnitude", initial_sparsity=0.75, final_sparsity=0.6), "falling schedule"),
        (PruneConfig("magnitude", final_sparsity=0.8, masks=MaskConfig(score="random")), "--score random"),
        (PruneConfig("magnitude", final_sparsity=0.8, masks=MaskConfig(include=("nose",))), "nose"),
    ],
)
def test_what_a_masked_run_cannot_keep_is_refused_before_data_are_read(masked, tmp_path, monkeypatch, prune, words):
    monkeypatch.setattr("hpe.data.faces.load_faces", lambda *a, **n: pytest.fail("data were read"))
    with pytest.raises(ConfigError, match=words):
        run_prune(masked, tmp_path / "again", prune, replace(RECIPE, train=TrainConfig(epochs=2)), report=quiet)
    assert not (tmp_path / "again").exists()


def test_clustering_keeps_the_zeros_of_depthwise_kernels(tiny_run, tmp_path):
    """The clusters leave depthwise kernels alone, whose masks were lost there."""
    masks = MaskConfig(depthwise=True)
    source = run_prune(tiny_run, tmp_path / "m", PruneConfig("magnitude", masks=masks), RECIPE, report=quiet)
    out = run_finetune(source, tmp_path / "c", FinetuneConfig(clusters=8), RECIPE, report=quiet)
    before, after = zeros(load_model(source)), zeros(load_model(out))
    assert all(bool(after[name][was].all()) for name, was in before.items())


def test_a_falling_schedule_gives_weights_back(tiny_run, tmp_path):
    prune = PruneConfig("magnitude", initial_sparsity=0.75, final_sparsity=0.5, frequency=1)
    recipe = replace(RECIPE, train=replace(RECIPE.train, epochs=2))
    model = load_model(run_prune(tiny_run, tmp_path / "falling", prune, recipe, report=quiet))
    weight = model.backbone.conv_head.weight
    assert int((weight == 0).sum()) == weight.numel() // 2


def test_random_masks_differ_by_seed(tiny_run):
    prune = PruneConfig("magnitude", "constant", masks=MaskConfig(score="random"))
    found = []
    for seed in (0, 0, 1):
        model = load_model(tiny_run)
        pruner = make_pruner(model, prune, 1, 1, recipe=Recipe(TINY_DATA, train=TrainConfig(seed=seed)))
        pruner.step(torch.optim.SGD(model.parameters(), lr=0.0))
        found.append(model.backbone.conv_head.weight == 0)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])

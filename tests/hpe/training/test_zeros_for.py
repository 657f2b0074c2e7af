"""`hpe prune --zeros-for`: masks that make the network faster on an engine, through the stages that may follow."""

import pytest
import torch

from hpe.io.errors import ConfigError
from hpe.io.files import read_json
from hpe.model.config import ModelConfig
from hpe.model.net import build_model, example_input, load_model, save_checkpoint
from hpe.training.config import FinetuneConfig, Recipe, TrainConfig
from hpe.training.pruners import check_network
from hpe.training.pruning_config import MaskConfig, PruneConfig
from hpe.training.runs import run_finetune, run_prune
from pruning import closed_doors, prunable_weights, zeros_for
from pruning.weights.engines import PI_LEAST
from tests.conftest import TINY_DATA

RECIPE = Recipe(TINY_DATA, train=TrainConfig(epochs=1, batch_size=16, lr=1e-4))
RELU6 = ModelConfig(act="relu6", se=False)


def quiet(line):
    pass


def masks(scope="erk", engine="pi", sparsity=0.8, **options):
    places = {key: options.pop(key) for key in ("include", "exclude") if key in options}
    return PruneConfig(
        "magnitude", final_sparsity=sparsity, masks=MaskConfig(scope, zeros_for=engine, **places), **options
    )


def shares(model):
    """Share of zeros of each weight that has some."""
    weights = prunable_weights(model, depthwise=True)
    found = {name: (weight == 0).float().mean().item() for name, weight in weights.items()}
    return {name: share for name, share in found.items() if share > 0}


@pytest.fixture(scope="module")
def masked(tiny_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "masked"
    return run_prune(tiny_run, out, masks(frequency=1), RECIPE, report=quiet)


def test_only_what_the_engine_skips_is_masked_and_each_layer_enough(masked):
    model = load_model(masked)
    policy = zeros_for("pi", model, example_input())
    found = shares(model)
    assert found.keys() == policy.keys()
    assert min(found.values()) >= PI_LEAST - 0.01
    assert max(found.values()) > 0.8  # erk shares out what goes beyond
    total = sum(weight.numel() for weight in prunable_weights(model, policy=policy).values())
    zeros = sum(int((model.get_parameter(name) == 0).sum()) for name in policy)
    assert zeros / total == pytest.approx(0.8, abs=1e-3)
    assert read_json(masked / "config.json")["prune"]["masks"]["zeros_for"] == "pi"


@pytest.mark.parametrize(
    "tune",
    [
        FinetuneConfig(qat=True),
        FinetuneConfig(clusters=8),
        FinetuneConfig(simplify=True, simplify_for="pi"),
        FinetuneConfig(simplify=True),
    ],
)
def test_later_stages_keep_the_zeros(masked, tune, tmp_path):
    model = load_model(run_finetune(masked, tmp_path / "tuned", tune, RECIPE, report=quiet))
    before, after = shares(load_model(masked)), shares(model)
    kept = {name: share for name, share in before.items() if ".se." not in name or not tune.simplify}
    assert after == pytest.approx(kept, abs=1e-6)
    opens = not tune.simplify or tune.simplify_for == "pi"
    assert (closed_doors(model, example_input()) == []) == opens


def test_lottery_rewinding_keeps_the_zeros(masked, tiny_run, tmp_path):
    tune = FinetuneConfig(rewind_to=tiny_run)
    model = load_model(run_finetune(masked, tmp_path / "ticket", tune, RECIPE, report=quiet))
    assert shares(model) == pytest.approx(shares(load_model(masked)), abs=1e-6)


def test_masking_on_from_a_masked_run_gives_more_zeros(masked, tmp_path):
    out = run_prune(masked, tmp_path / "more", masks("global", sparsity=0.9, frequency=1), RECIPE, report=quiet)
    before, after = load_model(masked), load_model(out)
    for name in shares(before):
        gone = before.get_parameter(name) == 0
        assert (after.get_parameter(name)[gone] == 0).all()
    with pytest.raises(ConfigError, match="leaves nothing to prune"):
        check_network(before, masks(sparsity=0.8))


@pytest.mark.parametrize(
    ("model", "config", "words"),
    [
        (ModelConfig(padding="same"), masks(), r"densely: backbone\.conv_stem: .*--simplify --simplify-for pi"),
        (ModelConfig(head="paper"), masks(), r"densely: head\.1: reads a flattened map .*--head gap"),
        (RELU6, masks(sparsity=0.6), r"--final-sparsity 0\.6: .* gains from 0\.67 zeros on"),
        (RELU6, masks(engine="mcu", sparsity=0.6), r"gains from 0\.66 zeros on; .*--exclude"),
    ],
)
def test_what_would_not_pay_is_refused_before_any_data_are_read(model, config, words):
    with pytest.raises(ConfigError, match=words):
        check_network(build_model(model), config)


@pytest.mark.parametrize(
    ("model", "mask", "share", "words"),
    [
        (ModelConfig(act="relu6", se=False, padding="same"), MaskConfig(zeros_for="pi"), 0.8, "densely"),
        (RELU6, MaskConfig(zeros_for="pi"), 0.5, r"gains from 0\.67 zeros on"),
        (RELU6, MaskConfig(include=("hed",)), 0.5, "'hed' matches no module"),
    ],
)
def test_masks_that_come_after_channels_are_checked_before_them(model, mask, share, words):
    hybrid = PruneConfig("hybrid", final_sparsity=share, masks=mask, target_int8_bytes=1_000_000)
    with pytest.raises(ConfigError, match=words):
        check_network(build_model(model), hybrid)


def test_what_pays_is_let_through():
    check_network(build_model(RELU6), masks(sparsity=0.67))
    same = build_model(ModelConfig(act="relu6", se=False, padding="same"))
    check_network(same, masks(engine="mcu", sparsity=0.66))  # padding is no matter there
    late = ("backbone.blocks.5", "backbone.blocks.6", "backbone.conv_head")
    check_network(same, masks(engine="mcu", sparsity=0.56, exclude=late))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"zeros_for": "pi", "depthwise": True}, "--depthwise"),
        ({"zeros_for": "mcu", "scope": "2:4"}, r"--scope 2:4 reaches 0\.5"),
    ],
)
def test_flags_that_would_be_ignored_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        MaskConfig(**options)
    with pytest.raises(ConfigError, match="--zeros-for needs --method magnitude"):
        PruneConfig("channel", masks=MaskConfig(zeros_for="pi"))
    with pytest.raises(ConfigError, match="--simplify-for needs --simplify"):
        FinetuneConfig(simplify_for="pi")


def test_a_microcontrollers_form_can_be_made_one_for_a_pi(tmp_path):
    """The zeros of a net that was masked for a microcontroller are worth something on a Pi, too."""
    run = tmp_path / "same"
    save_checkpoint(build_model(ModelConfig(act="relu6", se=False, padding="same"), seed=1), run)
    model = load_model(run)
    assert closed_doors(model, example_input())
    from hpe.model.simplify import simplified

    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert closed_doors(simplified(model, images, "symmetric"), example_input()) == []

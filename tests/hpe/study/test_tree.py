"""What runs share is trained once, and they end in the same bits as if each had been trained by itself."""

from dataclasses import replace

import pytest
import torch

from hpe.model.config import ModelConfig
from hpe.model.net import load_model
from hpe.study.folder import StudyFolder
from hpe.study.plan import make_plan
from hpe.study.tree import planned_epochs
from hpe.training.config import Recipe, TrainConfig
from hpe.training.loop import LAST
from hpe.training.pruning_config import ChannelConfig, MaskConfig, PruneConfig
from hpe.training.scratch import canonical, run_beginning, run_scratch_prune, shared_epochs
from tests.hpe.study.studies import DENSE, LATE, write_study

DATA = "synthetic:easy:32:5"
SMALL = ModelConfig(width=0.25, act="relu6")
TRAIN = TrainConfig(epochs=4, batch_size=16, patience=0)
ONECYCLE = TrainConfig(epochs=4, batch_size=16, lr_schedule="onecycle")

CHANNELS = PruneConfig("channel", "constant", begin_epoch=2)
TOGETHER = replace(CHANNELS, channels=ChannelConfig("lamp", "global", round_to=8), end_epoch=4)


def quiet(line):
    pass


def masks(schedule="polynomial", **options):
    return PruneConfig("magnitude", schedule, final_sparsity=0.75, **{"begin_epoch": 2, "end_epoch": 3} | options)


CASES = {
    "polynomial": (masks(), TRAIN),
    "polynomial, 1cycle": (masks(), ONECYCLE),
    "constant": (masks("constant"), TRAIN),
    "constant, raw weights": (masks("constant"), replace(TRAIN, ema=0.0)),
    "from a half": (masks(initial_sparsity=0.5), TRAIN),
    "falling": (masks(initial_sparsity=0.9), TRAIN),
    "random masks": (masks(masks=MaskConfig(score="random")), TRAIN),
    "channels": (PruneConfig("channel", begin_epoch=2, end_epoch=3), TRAIN),
    "random channels, constant": (
        PruneConfig("channel", "constant", begin_epoch=2, end_epoch=3, channels=ChannelConfig("random", "global")),
        ONECYCLE,
    ),
    "random channels": (
        PruneConfig("channel", begin_epoch=2, end_epoch=3, channels=ChannelConfig("random", "global")),
        TRAIN,
    ),
    "channels, then masks": (PruneConfig("hybrid", target_params=150_000, begin_epoch=2, end_epoch=4), TRAIN),
    "channels to a target": (PruneConfig("channel", target_params=150_000, begin_epoch=2, end_epoch=3), TRAIN),
}


@pytest.fixture(scope="module")
def beginnings(tmp_path_factory):
    """The state after n epochs of a recipe, each trained on from the one before."""
    folder, known = tmp_path_factory.mktemp("shared"), {}

    def beginning(train, epochs):
        key = (train, epochs)
        if key not in known:
            earlier = beginning(train, epochs - 1) if epochs > 1 else None
            recipe = Recipe(DATA, DATA, train=train)
            known[key] = run_beginning(folder / str(len(known)), SMALL, recipe, epochs, quiet, earlier)
        return known[key]

    return beginning


def assert_same_bits(one, other):
    expected, found = load_model(one).state_dict(), load_model(other).state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("case", CASES)
def test_a_run_from_a_shared_beginning_equals_an_unbroken_one(case, beginnings, tmp_path):
    prune, train = CASES[case]
    epochs = shared_epochs(prune, train.epochs)
    gentle = prune.schedule == "polynomial" and prune.initial_sparsity == 0
    assert epochs == (2 if gentle else 1)
    recipe = Recipe(DATA, DATA, train=train)
    lines = []
    run_scratch_prune(tmp_path / "whole", SMALL, prune, recipe, quiet)
    run_scratch_prune(tmp_path / "branch", SMALL, prune, recipe, lines.append, beginnings(train, epochs))
    assert any(f"after epoch {epochs} of 4" in line for line in lines)
    assert_same_bits(tmp_path / "whole", tmp_path / "branch")
    whole, branch = ((tmp_path / name / "metrics.csv").read_text().splitlines() for name in ("whole", "branch"))
    assert [line.split(",")[:3] for line in whole] == [line.split(",")[:3] for line in branch]


def test_a_beginning_shared_too_long_would_differ(beginnings, tmp_path):
    """The oracle of the rule: the constant schedule prunes with the last step of the epoch before it begins."""
    prune, recipe = masks("constant"), Recipe(DATA, DATA, train=TRAIN)
    run_scratch_prune(tmp_path / "whole", SMALL, prune, recipe, quiet)
    run_scratch_prune(tmp_path / "branch", SMALL, prune, recipe, quiet, beginnings(TRAIN, 2))
    with pytest.raises(AssertionError):
        assert_same_bits(tmp_path / "whole", tmp_path / "branch")


def test_what_looks_at_every_step_shares_nothing():
    assert shared_epochs(masks(masks=MaskConfig(score="movement")), 4) == 0
    grown = PruneConfig("channel", begin_epoch=2, end_epoch=3, channels=ChannelConfig(grow=True))
    assert shared_epochs(grown, 4) == 0
    assert shared_epochs(masks("constant", begin_epoch=0), 4) == 0
    assert shared_epochs(None, 4) == 4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (masks("constant", frequency=1), masks("constant", end_epoch=4)),
        (masks("constant"), masks(initial_sparsity=0.75, end_epoch=4)),
        (CHANNELS, replace(CHANNELS, end_epoch=4)),
        (TOGETHER, replace(TOGETHER, end_epoch=3, frequency=1)),
    ],
    ids=["ends", "flat polynomial", "channels", "channels ranked together in multiples"],
)
def test_runs_that_are_trained_once_would_end_in_the_same_bits(one, other, tmp_path):
    assert canonical(one, 4) == canonical(other, 4)
    for name, prune in (("one", one), ("other", other)):
        run_scratch_prune(tmp_path / name, SMALL, prune, Recipe(DATA, DATA, train=TRAIN), quiet)
    assert_same_bits(tmp_path / "one", tmp_path / "other")


def test_where_the_end_of_a_hybrid_lies_makes_a_difference():
    hybrid = PruneConfig("hybrid", "constant", target_params=150_000, begin_epoch=2, end_epoch=4)
    assert canonical(hybrid, 8) != canonical(replace(hybrid, end_epoch=8), 8)


def test_the_tree_of_a_small_study(tmp_path):
    plan = make_plan(write_study(tmp_path, DENSE, LATE))
    found = [(task.kind, task.epochs, task.new_epochs, task.same_as is not None) for task in plan.tasks]
    assert found == [
        ("beginning", 1, 1, False),
        ("beginning", 2, 1, False),
        ("run", 4, 2, False),  # dense
        ("run", 4, 2, False),
        ("run", 4, 2, False),
        ("run", 4, 3, False),
        ("run", 4, 0, True),
    ]
    assert planned_epochs(plan.tasks) == 11
    alone = make_plan(write_study(tmp_path, LATE.replace("[4, 6], [4, 8]", "[4, 8]").replace(', "constant"', "")))
    assert [task.beginning for task in alone.tasks] == [None]


def test_beginnings_go_when_nobody_needs_them(tmp_path):
    plan, folder = make_plan(write_study(tmp_path, DENSE, LATE)), StudyFolder(tmp_path / "out")
    first, second, *runs = plan.tasks
    for task in (first, second):
        folder.shared(task.id).mkdir(parents=True)
        (folder.shared(task.id) / LAST).touch()
        (folder.shared(task.id) / "done.json").touch()

    def finish(task):
        folder.run(task.id).mkdir(parents=True)
        (folder.run(task.id) / "result.json").write_text('{"study": {}}')
        folder.drop_unneeded(plan.tasks)

    for task in runs[:2]:
        finish(task)
    assert folder.shared(second.id).exists()
    finish(runs[2])
    assert not folder.shared(second.id).exists()
    assert folder.shared(first.id).exists()
    finish(runs[3])
    assert not folder.shared(first.id).exists()

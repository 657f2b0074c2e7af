"""Networks with further outputs through every step that trains, and what their losses weigh."""

import numpy as np
import pytest
import torch

from hpe.cli.main import main
from hpe.io.files import read_json
from hpe.model.config import ModelConfig
from hpe.model.extension import add_outputs
from hpe.model.net import build_model, load_model, outputs_of
from hpe.model.outputs import SPREAD_AT_ZERO_DEG, read_outputs
from hpe.model.recalibration import fit_spread_factors
from hpe.training.config import DistillConfig
from hpe.training.losses import SPREAD_WEIGHT, distilled, further_loss, supervised
from pruning import ZeroKeeper, prunable_weights

DATA = "synthetic:easy:24:5"
QUICK = ["--data", DATA, "--epochs", "1", "--batch-size", "8"]
LOCATE = ["--no-face", "0.3"]


def targets(face, counts=None):
    generator = torch.Generator().manual_seed(0)
    pose, place = 20 * torch.randn(6, 3, generator=generator), 0.1 * torch.randn(6, 3, generator=generator)
    return torch.cat([pose, place, torch.tensor([face, counts or face], dtype=torch.float32).T], 1)


def test_images_without_a_face_teach_the_score_alone():
    wanted = targets([1, 1, 1, 0, 0, 0])
    outputs = torch.zeros(6, 10, requires_grad=True)
    (further_loss(outputs, wanted) + 0).backward()
    gradient = outputs.grad
    assert (gradient[:3, 3:] != 0).all()
    assert (gradient[3:, 6] > 0).all()
    assert (gradient[3:, [3, 4, 5, 7, 8, 9]] == 0).all()
    assert (gradient[:, :3] == 0).all()  # the spread does not pull at the pose


def test_a_crop_far_off_teaches_place_and_score_alone():
    wanted = targets([1, 1, 1, 1, 1, 0], counts=[1, 1, 1, 0, 0, 0])
    outputs = torch.zeros(6, 10, requires_grad=True)
    supervised(lambda images: images, outputs, wanted)[0].backward()
    assert (outputs.grad[:3] != 0).all()
    assert (outputs.grad[3:5, 3:7] != 0).all()
    assert (outputs.grad[3:5, [0, 1, 2, 7, 8, 9]] == 0).all()
    assert (outputs.grad[5] != 0).tolist() == [False] * 6 + [True] + [False] * 3


def test_the_spread_is_laplaces_likeliest():
    """Torch's own Laplace distribution, and its best scale: the mean absolute error."""
    error = torch.tensor([[1.0, 4.0, 0.5], [3.0, 2.0, 1.5]])
    outputs = torch.cat([error, torch.tensor([[6.0, -9.0, 12.0]]).expand(2, 3)], 1)
    b = SPREAD_AT_ZERO_DEG * (outputs[:, 3:] / 30).exp()
    likelihood = torch.distributions.Laplace(torch.zeros(2, 3), b).log_prob(error).mean() + np.log(2)
    torch.testing.assert_close(further_loss(outputs, torch.zeros(2, 3)), -SPREAD_WEIGHT * likelihood)
    factors = fit_spread_factors(error.numpy(), b.numpy())
    best = min((torch.distributions.Laplace(0.0, b[:, 0] * f).log_prob(error[:, 0]).mean().neg().item(), f)
               for f in np.linspace(0.2, 3, 2801))[1]  # fmt: skip
    assert factors[0] == pytest.approx(best, abs=0.002)


def test_a_teacher_without_further_outputs_teaches_the_pose_and_one_with_them_does_not_disturb():
    student = build_model(ModelConfig(width=0.25, locate=True, spread=True), 1).eval()
    images, wanted = torch.randn(6, 3, 64, 64), targets([1, 1, 1, 1, 1, 1])
    for teacher in (build_model(ModelConfig(width=0.25), 2), build_model(ModelConfig(width=0.25, locate=True), 2)):
        config = DistillConfig("teacher", 1.0, teacher_flip_tta=True)
        loss, pose = distilled(teacher, student, config)(student, images, wanted)
        answer = (teacher(images)[:, :3] + teacher(images.flip(3))[:, :3] * torch.tensor([-1.0, 1, -1])) / 2
        outputs = student(images)
        expected = (outputs[:, :3] - answer).abs().mean() / 30 + further_loss(outputs, wanted)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(pose, outputs[:, :3])
    plain, _ = supervised(student, images, wanted)
    torch.testing.assert_close(
        plain, (outputs[:, :3] - wanted[:, :3]).abs().mean() / 30 + further_loss(outputs, wanted)
    )


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "dense"
    form = ["--act", "relu6", "--no-se", "--width", "0.25"]
    main(["train", *QUICK, *form, "--locate", *LOCATE, "--val", DATA, "--out", str(folder)])
    return folder


def test_a_run_measures_what_is_new(dense):
    header, row = (line.split(",") for line in (dense / "metrics.csv").read_text().splitlines())
    values = dict(zip(header, row, strict=True))
    assert float(values["val_shift_px"]) > 0
    assert 0 <= float(values["val_face_accuracy"]) <= 1
    assert float(values["train_mae_deg"]) > 0
    assert load_model(dense)(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


@pytest.mark.parametrize(
    "further",
    [
        ["prune", "--method", "magnitude", "--frequency", "1", "--far", "0.4"],
        [
            "prune",
            "--method",
            "channel",
            "--importance",
            "sensitivity",
            "--ranking",
            "global",
            "--final-sparsity",
            "0.3",
        ],
        ["finetune", "--qat", "--teacher", "dense", "--teacher-offline", "--teacher-flip-tta", "--far", "0.4"],
        ["finetune", "--simplify", "--clusters", "16", "--teacher", "dense", "--feature-weight", "1"],
    ],
    ids=["masks", "channels", "qat", "simplify"],
)
def test_further_outputs_go_through_every_stage(dense, tmp_path, further):
    command, *flags = further
    flags = [str(dense) if flag == "dense" else flag for flag in flags]
    main([command, str(dense), *flags, *QUICK, *LOCATE, "--out", str(tmp_path / "next")])
    network = load_model(tmp_path / "next")
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 7)
    assert network.config.locate


def test_spread_is_added_to_a_trained_network_and_calibrated(dense, tmp_path, capsys):
    main(["finetune", str(dense), "--spread", *QUICK, *LOCATE, "--val", DATA, "--out", str(tmp_path / "sure")])
    assert "val_surprise" in (tmp_path / "sure" / "metrics.csv").read_text()
    begun = add_outputs(load_model(dense), locate=False, spread=True).last_layer.weight[-3:]
    learnt = load_model(tmp_path / "sure").last_layer.weight[-3:]
    assert (learnt != begun).float().mean() > 0.9
    main(["recalibrate", str(tmp_path / "sure"), "--data", DATA, "--out", str(tmp_path / "even")])
    assert "spread: yaw x" in capsys.readouterr().out
    factors = read_json(tmp_path / "even" / "config.json")["recalibrate"]["spread_factor"]
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    before, after = (read_outputs(outputs_of(load_model(tmp_path / run), crops)) for run in ("sure", "even"))
    np.testing.assert_allclose(after.spread_deg, before.spread_deg * factors, rtol=1e-3)
    np.testing.assert_allclose(after.place, before.place, atol=1e-4)
    np.testing.assert_allclose(after.face, before.face, atol=1e-4)


def test_new_outputs_learn_beside_zeros_that_stay():
    model = build_model(ModelConfig(act="relu6", se=False, width=0.25)).eval()
    with torch.no_grad():
        for weight in prunable_weights(model).values():
            weight[weight.abs() < weight.abs().median()] = 0
    zeros = model.last_layer.weight.detach() == 0
    add_outputs(model, locate=True, spread=True)
    keeper, optimizer = ZeroKeeper(model), torch.optim.SGD(model.parameters(), lr=0.1)
    begun = model.last_layer.weight.detach().clone()
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    optimizer.step()
    keeper.step(optimizer)
    moved = model.last_layer.weight.detach() != begun
    assert torch.equal(model.last_layer.weight[:3] == 0, zeros)
    assert bool(moved[3:].any(1).all())


@pytest.mark.parametrize("flag", ["--no-face", "--far"])
def test_what_teaches_the_place_is_refused_where_the_network_does_not_locate(tmp_path, capsys, flag):
    with pytest.raises(SystemExit, match="2"):
        main(["train", *QUICK, "--width", "0.25", flag, "0.3", "--out", str(tmp_path / "run")])
    assert f"{flag} needs a network that locates" in capsys.readouterr().err
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_run_begun_before_there_were_these_switches_can_be_resumed(dense):
    from hpe.training.start import _leaves

    leaves = dict(_leaves({"model": {"spread": False}, "augment": {"no_face": 0.0}}))
    assert not any(leaves.values())  # what `_changed` takes for not asked

import pytest
import torch

from hpe.io.errors import ConfigError
from hpe.model.config import ModelConfig
from hpe.model.net import build_model
from hpe.training import losses
from hpe.training.config import DistillConfig
from hpe.training.losses import backbone_dtype, distances, distilled, pose_loss, supervised


@pytest.fixture(scope="module")
def nets():
    return build_model(ModelConfig(), seed=1), build_model(ModelConfig(width=0.3), seed=2)


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 3, 64, 64, generator=generator), 30 * torch.randn(6, 3, generator=generator)


def test_loss_is_mean_absolute_error_in_units_of_30_degrees():
    assert pose_loss(torch.tensor([[30.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, -60.0]])).item() == pytest.approx(1.0)


def test_labels_and_teacher_are_mixed_by_their_share(nets, batch):
    teacher, student = nets
    student.eval()
    images, pose_deg = batch
    teacher_deg = teacher.eval()(images)
    for share in (0.0, 0.25, 1.0):
        loss, outputs = distilled(teacher, student, DistillConfig("teacher", share))(student, images, pose_deg)
        torch.testing.assert_close(outputs, student(images))
        expected = (1 - share) * pose_loss(outputs, pose_deg) + share * pose_loss(outputs, teacher_deg)
        torch.testing.assert_close(loss, expected)
    loss, outputs = supervised(student, images, pose_deg)
    torch.testing.assert_close(loss, pose_loss(outputs, pose_deg))


def test_a_teacher_may_also_see_the_mirror_image(nets, batch):
    teacher, student = nets
    student.eval()
    images, pose_deg = batch
    config = DistillConfig("teacher", 1.0, teacher_flip_tta=True)
    objective = distilled(teacher, student, config)
    mirrored = teacher(images.flip(3)) * torch.tensor([-1.0, 1.0, -1.0])
    expected = pose_loss(student(images), (teacher(images) + mirrored) / 2)
    torch.testing.assert_close(objective(student, images, pose_deg)[0], expected)


def test_gradients_reach_the_student_alone(nets, batch):
    teacher, student = nets
    student.train()
    loss, _ = distilled(teacher, student, DistillConfig("teacher", 0.5, feature_weight=1.0))(student, *batch)
    loss.backward()
    assert all(parameter.grad is not None for parameter in student.parameters())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not teacher.training


def test_feature_distances_take_other_widths_and_vanish_where_nets_agree(nets, batch):
    teacher, student = nets
    student.eval()
    images, pose_deg = batch
    config = DistillConfig("teacher", 0.0, feature_weight=2.0)
    plain = pose_loss(student(images), pose_deg)
    other, _ = distilled(teacher, student, config)(student, images, pose_deg)
    assert other > plain
    same, _ = distilled(student, student, config)(student, images, pose_deg)
    torch.testing.assert_close(same, plain)
    student.requires_grad_(True)


def test_distances_are_pairwise_and_one_in_the_mean():
    features = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 8.0]])
    torch.testing.assert_close(distances(features), torch.tensor([5.0, 8.0, 5.0]) / 6)


def test_the_papers_head_has_no_pooled_features(nets):
    with pytest.raises(ConfigError, match="--feature-weight"):
        distilled(nets[0], build_model(ModelConfig(head="paper")), DistillConfig("teacher", 0.5, feature_weight=1.0))
    with pytest.raises(ConfigError, match="the teacher's head"):
        distilled(build_model(ModelConfig(head="paper")), nets[0], DistillConfig("teacher", 0.5, feature_weight=1.0))


@pytest.mark.parametrize("head", ["gap", "paper"])
def test_head_and_loss_stay_in_float32_where_the_backbone_runs_in_bfloat16(monkeypatch, batch, head):
    """Near 30 degrees the steps of bfloat16 are 0.12. A CPU's autocast stands for a GPU's."""
    model = build_model(ModelConfig(width=0.3, head=head)).eval()
    images, pose_deg = batch
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = model.backbone(images)
    assert features.dtype == torch.bfloat16
    expected = model.pose(features.float())
    monkeypatch.setattr(losses, "backbone_dtype", lambda device: torch.bfloat16)
    loss, outputs = supervised(model, images, pose_deg)
    assert outputs.dtype == loss.dtype == torch.float32
    torch.testing.assert_close(outputs, expected, rtol=0, atol=0)
    assert not torch.equal(outputs, outputs.bfloat16().float())
    loss.backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in model.parameters())
    if head == "gap":
        teacher = DistillConfig("teacher", 1.0, feature_weight=1.0)
        outputs = distilled(model, build_model(ModelConfig(width=0.3)), teacher)(model, images, pose_deg)[1]
        assert outputs.dtype == torch.float32


@pytest.mark.parametrize(("supported", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_bfloat16_needs_hardware_for_it(monkeypatch, supported, dtype):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: asked.append(options) or supported)
    assert backbone_dtype(torch.device("cuda")) == dtype
    assert asked == [{"including_emulation": False}]
    assert backbone_dtype(torch.device("cpu")) == torch.float32
    assert backbone_dtype(torch.device("mps")) == torch.float32

from __future__ import annotations

import math

import builds
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgeft import tasks
from edgeft.config import recipe
from edgeft.core.errors import ModelError, UsageError

classify = tasks.get("classify").learning()


def test_unknown_task() -> None:
    with pytest.raises(UsageError, match="did you mean 'classify'"):
        tasks.get("clasify").learning()


def test_set_head_keeps_everything_else() -> None:
    built = builds.build(recipe.Model(name="mobilenet_v2", args={"width": 0.25}), 10)
    before = {k: v.clone() for k, v in built.module.state_dict().items()}
    classify.set_head(built.module, built.head, 3)
    after = built.module.state_dict()
    assert after["classifier.1.weight"].shape == (3, 1280) and after["classifier.1.bias"].shape == (3,)
    assert all(torch.equal(after[k], before[k]) for k in before if not k.startswith("classifier.1"))
    convolutional = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 10, 1, bias=False))
    classify.set_head(convolutional, "1", 4)
    assert convolutional(torch.zeros(1, 3, 5, 5)).shape == (1, 4, 3, 3) and convolutional[1].bias is None
    with pytest.raises(ModelError, match="expected a linear layer"):
        classify.set_head(built.module, "avgpool", 3)
    with pytest.raises(ModelError, match="has no layer 'fc'"):
        classify.set_head(built.module, "fc", 3)


def test_loss_and_smoothing_by_hand() -> None:
    logits, targets = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([0])
    p = [math.exp(v) for v in (2, 0, -1)]
    log_p = [math.log(v / sum(p)) for v in p]
    assert classify.loss(logits, targets).item() == pytest.approx(-log_p[0], rel=1e-5)
    smooth = -(0.9 + 0.1 / 3) * log_p[0] - 0.1 / 3 * (log_p[1] + log_p[2])
    assert classify.loss(logits, targets, smoothing=0.1).item() == pytest.approx(smooth, rel=1e-5)


def test_distillation() -> None:
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(6, 5, generator=generator, requires_grad=True)
    teacher = torch.randn(6, 5, generator=generator, requires_grad=True)
    targets = torch.arange(6) % 5
    assert classify.distill(student.detach(), student.detach()).item() == pytest.approx(0, abs=1e-6)
    value = classify.distill(student, teacher, temperature=4.0)
    p, q = F.softmax(teacher / 4, 1), F.softmax(student / 4, 1)
    assert value.item() == pytest.approx(16 * (p * (p / q).log()).sum(1).mean().item(), rel=1e-4)
    value.backward()
    assert student.grad is not None and teacher.grad is None  # the teacher does not learn
    half = classify.distill(student, teacher, targets, weight=0.5)
    assert half.item() == pytest.approx(0.5 * value.item() + 0.5 * classify.loss(student, targets).item(), rel=1e-5)


def test_groups_hold_each_parameter_once() -> None:
    built = builds.build(recipe.Model(name="resnet8"), 4)
    made = {g["name"]: g for g in classify.groups(built.module, built.head, 1e-3, 1e-2, 0.05)}
    assert set(made) == {"body", "body_plain", "head", "head_plain"}
    assert [made[n]["lr"] for n in ("body", "body_plain", "head", "head_plain")] == [1e-3, 1e-3, 1e-2, 1e-2]
    assert [made[n]["weight_decay"] for n in ("body", "body_plain", "head", "head_plain")] == [0.05, 0, 0.05, 0]
    held = [p for g in made.values() for p in g["params"]]
    assert len({id(p) for p in held}) == len(held) == len(list(built.module.parameters()))
    assert made["head"]["params"][0] is built.module.get_parameter("fc.weight")
    assert made["head_plain"]["params"][0] is built.module.get_parameter("fc.bias")
    norms = {id(p) for m in built.module.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}
    assert norms == {id(p) for p in made["body_plain"]["params"]}
    torch.optim.AdamW(made.values())


def test_groups_leave_out_what_is_frozen() -> None:
    built = builds.build(recipe.Model(name="resnet8"), 4)
    for name, parameter in built.module.named_parameters():
        parameter.requires_grad_(name.startswith("fc."))
    made = classify.groups(built.module, built.head, 1e-3)
    assert [g["name"] for g in made] == ["head", "head_plain"] and all(g["lr"] == 1e-3 for g in made)

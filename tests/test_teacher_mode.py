"""Frozen networks that make targets in train mode, beside those in eval mode, and others that are meant to be in train mode."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.teacher_mode import teacher_mode

BATCH = (
    torch.randn(32, 6, generator=torch.Generator().manual_seed(0)),
    torch.randint(4, (32,), generator=torch.Generator().manual_seed(1)),
)
Step = Callable[[Any, Any], Tensor]


def teacher(*, drops: bool = True, normalises: bool = False) -> nn.Sequential:
    torch.manual_seed(2)
    norm, drop = nn.BatchNorm1d(24) if normalises else nn.Identity(), nn.Dropout(0.5) if drops else nn.Identity()
    return nn.Sequential(nn.Linear(6, 24), norm, nn.ReLU(), drop, nn.Linear(24, 4)).requires_grad_(False)


def student() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))


class Both(nn.Module):
    """A student that holds its teacher."""

    def __init__(self, made: nn.Module, *, keeps: bool = False) -> None:
        super().__init__()
        self.student, self.teacher, self.keeps = student(), made, keeps

    def train(self, mode: bool = True) -> "Both":
        super().train(mode)
        if self.keeps:
            self.teacher.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.student(x)


def by_a_part(*, mode: bool | None = True) -> Step:
    """A step that sets modes by itself, or leaves them."""

    def step(model: Any, batch: Any) -> Tensor:
        if mode is not None:
            model.train()
            model.teacher.train(mode and model.teacher.training)
        with torch.no_grad():
            wanted = model.teacher(batch[0]).softmax(1)
        return F.kl_div(model.student(batch[0]).log_softmax(1), wanted, reduction="batchmean")

    return step


def by_another(made: nn.Module, *, times: int = 1, is_read: bool = True) -> Step:
    """A teacher outside the model, which may be asked several times."""

    def step(model: Any, batch: Any) -> Tensor:
        with torch.no_grad():
            wanted = torch.stack([made(batch[0]) for _ in range(times)]).mean(0)
        loss = F.cross_entropy(model(batch[0]), batch[1])
        return loss + F.mse_loss(model(batch[0]), wanted) if is_read else loss

    return step


def of_features(made: nn.Module) -> Step:
    def step(model: Any, batch: Any) -> Tensor:
        with torch.no_grad():
            features = made(batch[0])
        return F.cross_entropy(model(features), batch[1])

    return step


@pytest.mark.parametrize(("drops", "normalises", "layers"), [(True, False, 1), (False, True, 1), (True, True, 2)])
def test_a_teacher_in_train_mode(drops: bool, normalises: bool, layers: int) -> None:
    made = teacher(drops=drops, normalises=normalises)
    found = teacher_mode(student(), BATCH, by_another(made))
    assert found is not None
    assert found[:2] == ("Sequential", layers)
    assert found[2] > 0.1
    inside = teacher_mode(Both(teacher(drops=drops, normalises=normalises)), BATCH, by_a_part())
    assert inside is not None
    assert inside[:2] == ("Sequential", layers)
    before = copy.deepcopy(made.state_dict())
    facts_of(student(), BATCH, training_step=by_another(made), batches=[BATCH])
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


@pytest.mark.parametrize(
    ("model", "step"),
    [
        (student(), by_another(teacher().eval())),
        (student(), by_another(teacher(drops=False))),
        (student(), by_another(teacher(), times=4)),  # Monte-Carlo dropout
        (student(), by_another(teacher(), is_read=False)),
        (nn.Linear(4, 4), of_features(teacher())),
        (Both(teacher()), by_a_part(mode=False)),
        (Both(teacher()), by_a_part(mode=None)),  # set by a loop that is not seen
        (Both(teacher(), keeps=True), by_a_part()),
        (teacher().requires_grad_(True), by_another(teacher())),  # an average of the weights
    ],
)
def test_teachers_that_may_be_as_they_are(model: nn.Module, step: Step) -> None:
    assert teacher_mode(model, BATCH, step) is None


def test_a_network_that_an_optimizer_trains() -> None:
    made = teacher().requires_grad_(True)
    optimizer = torch.optim.SGD(made.parameters(), 0.1)
    assert teacher_mode(student(), BATCH, by_another(made)) is None
    assert optimizer.param_groups


@pytest.mark.parametrize(("made", "codes"), [(teacher(), ["wrong_mode.teacher"]), (teacher().eval(), [])])
def test_a_teacher_in_train_mode_is_named(made: nn.Module, codes: list[str]) -> None:
    facts = facts_of(student(), BATCH, training_step=by_another(made), batches=[BATCH])
    assert [f.code for f in diagnose(Evidence(facts=facts)).findings if f.rule == "wrong_mode"] == codes

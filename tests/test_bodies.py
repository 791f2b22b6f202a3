"""What the looks at a loop's whole body leave behind: nothing, in objects that it reaches by itself."""

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.checking.check import check

RNG = torch.Generator().manual_seed(0)
BATCHES = [(torch.randn(16, 6, generator=RNG), torch.randn(16, 1, generator=RNG)) for _ in range(8)]


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))


def everything(*objects: Any) -> list[Any]:
    """Tensors and numbers of state dicts, in order."""
    found: list[Any] = []

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                found.append(key)
                collect(item)
        elif isinstance(value, list | tuple):
            for item in value:
                collect(item)
        else:
            found.append(value.clone() if isinstance(value, Tensor) else copy.copy(value))

    collect([each.state_dict() for each in objects])
    return found


def alike(a: list[Any], b: list[Any]) -> bool:
    same = (torch.equal(x, y) if isinstance(x, Tensor) else x == y for x, y in zip(a, b, strict=True))
    return all(same)


@pytest.mark.parametrize("with_scheduler", [False, True])
@pytest.mark.parametrize("num_models", [1, 2])
def test_check_leaves_what_the_body_reaches_as_it_was(num_models: int, with_scheduler: bool) -> None:
    models, average = [net() for _ in range(num_models)], net()
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9) for model in models]
    scheduler = torch.optim.lr_scheduler.StepLR(optimizers[0], step_size=1, gamma=0.5) if with_scheduler else None
    scaler, calls = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1), itertools.count()

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        next(calls)
        parts, steppers = (model, optimizer) if num_models > 1 else ([model], [optimizer])
        x, y = batch
        average(x)  # moves its buffers
        loss = x.sum()
        for part, stepper in zip(parts, steppers, strict=True):
            loss = F.mse_loss(part(x), y)
            stepper.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(stepper)
        scaler.update()
        if scheduler is not None:
            scheduler.step()
        with torch.no_grad():
            for mean, p in zip(average.parameters(), parts[0].parameters(), strict=True):
                mean.lerp_(p + 1, 0.1)
        return loss

    held = (*models, *optimizers, average, scaler, *([scheduler] if scheduler is not None else []))
    before = everything(*held)
    given, taken = (models, optimizers) if num_models > 1 else (models[0], optimizers[0])
    check(given, BATCHES, step=step, optimizer=taken, rehearse_seconds=None)
    assert alike(before, everything(*held))
    # A scheduler steps the original's optimizer, whatever copy the body is given: without a rehearsal it is not run at all.
    assert (next(calls) == 0) == with_scheduler


def test_a_body_that_fails_is_named_and_what_models_want_of_each_other_is_still_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any) -> None:
        raise RuntimeError("no")

    asked: list[Any] = []
    monkeypatch.setattr("trainability.doctor.measure.body_facts.look_at_body", fails)
    monkeypatch.setattr("trainability.doctor.measure.body_facts.same_aim", lambda *args: asked.append(args))
    models = [net(), net()]
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in models]

    def step(model: Any, optimizer: Any, batch: Any) -> None:
        F.mse_loss(model[1](model[0](batch[0]).expand(-1, 6)), batch[1]).backward()

    facts = check(models, BATCHES, step=step, optimizer=optimizers, rehearse_seconds=None).evidence.facts
    assert facts is not None
    assert [note for note in facts.notes if note.startswith("one step of the body")]
    assert len(asked) == 1


@pytest.mark.parametrize("holds", ["optimizer", "part", "function"])
def test_a_body_with_an_optimizer_or_a_part_of_its_own_is_stepped_itself_and_left_as_it_was(holds: str) -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"made": nn.Linear(6, 6), "judge": nn.Linear(6, 1)})
    optimizer = torch.optim.SGD(model["made"].parameters(), lr=0.1)
    own = torch.optim.SGD(model["judge"].parameters(), lr=0.1, momentum=0.9)
    judge = model["judge"]

    def judged(x: Tensor) -> Tensor:
        own.step()
        return model["judge"](x)

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        made = model["made"](batch[0])
        answer = judge(made) if holds == "part" else judged(made) if holds == "function" else model["judge"](made)
        optimizer.zero_grad()
        loss = F.mse_loss(answer, batch[1])
        loss.backward()
        optimizer.step()
        if holds == "optimizer":
            own.step()
        return loss

    before = everything(model, optimizer, own)
    rehearsal = check(model, BATCHES, step=step, optimizer=optimizer, rehearse_seconds=60).evidence.rehearsal
    assert alike(before, everything(model, optimizer, own))
    assert rehearsal is not None
    assert rehearsal.in_place
    assert ("judge.weight" in rehearsal.unmoved) == (holds == "part")

"""Rehearsal: any form of loop, what it shows, and that it leaves no trace."""

import copy
import functools
import itertools
import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import trainability
from trainability.doctor.measure import rehearsal
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.left_behind import LeftBehind
from trainability.doctor.measure.put_back import keep_variables, put_back
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.rehearsal import rehearse
from trainability.doctor.measure.uses import called_by, used_by
from trainability.doctor.rehearsed import Rehearsal


def program(seed: int = 0, lr: float = 0.1) -> tuple[nn.Module, torch.optim.Optimizer, DataLoader]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 4))
    x = torch.randn(256, 8)
    y = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
    loader = DataLoader(TensorDataset(x, y), 32, shuffle=True, generator=torch.Generator().manual_seed(seed))
    return model, torch.optim.SGD(model.parameters(), lr, momentum=0.9), loader


def everything(model: nn.Module, optimizer: torch.optim.Optimizer, loader: Any = None) -> list[Any]:
    """State of all that a rehearsal may not touch, in a form that compares."""
    state = [*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters() if p.grad is not None)]
    for entries in optimizer.state.values():
        for value in entries.values():
            state += value if isinstance(value, list) else [value]  # LBFGS keeps lists of tensors
    numbers = [random.getstate()[1][:5], tuple(np.random.get_state()[1][:5])]  # type: ignore[index]
    numbers += [[{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]]
    numbers += [[module.training for module in model.modules()], [p.grad is None for p in model.parameters()]]
    tensors = [torch.get_rng_state(), *([loader.generator.get_state()] if loader is not None else [])]
    return [*(copy.deepcopy(t.detach()) if isinstance(t, Tensor) else t for t in (*state, *tensors)), *copy.deepcopy(numbers)]


def same(before: list[Any], after: list[Any]) -> bool:
    pairs = zip(before, after, strict=True)
    return all(torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs)


def started(model: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader, steps: int = 3) -> None:
    """Some steps, so that there are gradients, momenta and statistics to lose."""
    for _, (x, y) in zip(range(steps), loader, strict=False):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def training_step(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def whole_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
    optimizer.zero_grad()
    loss = training_step(model, batch)
    loss.backward()
    optimizer.step()
    return loss


FORMS = {
    "loss_fn": {"loss_fn": F.cross_entropy},
    "training_step": {"training_step": training_step},
    "step": {"step": whole_step},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("fresh", [True, False])
def test_it_leaves_everything_as_it_was(form: dict[str, Any], fresh: bool) -> None:
    model, optimizer, loader = program()
    if not fresh:
        started(model, optimizer, loader)
    model.eval()
    before = everything(model, optimizer, loader)
    rehearse(model, optimizer, loader, **form, max_steps=6)
    assert same(before, everything(model, optimizer, loader))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_it_takes_the_steps_that_the_loop_would(form: dict[str, Any]) -> None:
    model, optimizer, loader = program()
    found = rehearse(model, optimizer, loader, **form, max_steps=12)
    with generators_restored(loader):
        batches = [*itertools.islice(loader, 4)]
    assert len(found.steps) == 12
    assert [s.step for s in found.steps] == [*range(1, 13)]
    assert all(s.optimizer_steps == 1 for s in found.steps)
    assert found.ended_by == "steps"
    assert found.reference[-1].loss < 0.8 * found.reference[0].loss
    assert found.critical[0][0] == 1
    assert found.critical[-1][0] == 12
    assert found.task.kind == "classification"
    labels = torch.bincount(torch.cat([y for _, y in batches])).double() / 128
    assert found.task.chance == pytest.approx(float(-(labels * labels.log()).sum()))
    assert (found.without_gradient, found.stale_gradient, found.training) == ((), 0.0, True)
    assert set(found.unmoved) <= {"0.bias"}  # batch norm takes the bias away: its gradient is rounding
    assert not found.in_place


def test_without_dropout_its_losses_are_the_loops_own() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    batches = [(torch.randn(64, 8), torch.randint(4, (64,))) for _ in range(8)]
    found = rehearse(model, optimizer, batches, loss_fn=F.cross_entropy, clip=0.5, max_steps=6)
    losses = []
    for batch in batches[2:]:
        optimizer.zero_grad()
        loss = training_step(model, batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        losses.append(loss.item())
    assert [s.loss for s in found.steps] == losses
    assert max(s.gradient_norm or 0 for s in found.steps) <= 0.5 * (1 + 1e-5)


# --------------------------------------------------------------------------------------------- what only the loop shows


def test_gradients_that_are_never_cleared() -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
        loss = training_step(model, batch)
        loss.backward()
        optimizer.step()
        return loss

    found = rehearse(*program(), step=step, max_steps=4)
    assert found.stale_gradient is not None
    assert found.stale_gradient > 1e-3


def test_accumulation_is_no_stale_gradient() -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
        optimizer.zero_grad()
        for half in (0, 1):
            loss = training_step(model, (batch[0][half::2], batch[1][half::2])) / 2
            loss.backward()
        optimizer.step()
        return loss

    assert rehearse(*program(), step=step, max_steps=4).stale_gradient == 0.0


def test_updates_are_followed_where_they_are_made() -> None:
    """Gradients add up over eight bodies; what the first and the second do to the weights is nothing."""
    passes = 0

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
        nonlocal passes
        passes += 1
        loss = training_step(model, batch)
        (loss / 8).backward()
        if passes % 8 == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    found = rehearse(*program(), step=step, max_steps=20)
    assert [number % 8 for number, _ in found.critical][:2] == [0, 0]
    assert all(critical.update_norm > 0 for _, critical in found.critical)


def test_an_optimizer_that_never_steps() -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
        loss = training_step(model, batch)
        loss.backward()
        return loss

    found = rehearse(*program(), step=step, max_steps=4)
    assert all(s.optimizer_steps == 0 and s.gradient_norm is None for s in found.steps)
    assert len(found.unmoved) == 6
    assert found.critical[0][1].multiple is None


def test_an_optimizer_of_another_model() -> None:
    model, _, loader = program()
    other, optimizer, _ = program(1)
    found = rehearse(model, optimizer, loader, loss_fn=F.cross_entropy, max_steps=3)
    assert len(found.unmoved) == 6
    assert other is not model


def test_a_parameter_that_no_gradient_reaches() -> None:
    model, _, loader = program()
    model.register_parameter("unused", nn.Parameter(torch.zeros(3, 3)))
    found = rehearse(model, torch.optim.SGD(model.parameters(), 0.1), loader, loss_fn=F.cross_entropy, max_steps=3)
    assert found.without_gradient == ("unused",)
    assert "unused" in found.unmoved
    assert "0.weight" not in found.unmoved


def test_evaluation_mode() -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
        model.eval()
        return whole_step(model, optimizer, batch)

    found = rehearse(*program(), step=step, max_steps=3)
    assert found.training is False
    assert found.in_evaluation_mode == ("1", "3")


class Frozen(nn.Sequential):
    """Its batch norms stay in evaluation mode, as those of a pretrained network should."""

    def train(self, mode: bool = True) -> "Frozen":
        super().train(mode)
        for module in self:
            if isinstance(module, nn.BatchNorm1d):
                module.eval()
        return self


@pytest.mark.parametrize(("is_pretrained", "kind"), [(False, Frozen), (True, Frozen), (False, nn.Sequential)])
def test_batch_norms_that_the_model_keeps_in_evaluation_mode(is_pretrained: bool, kind: type) -> None:
    model, _, loader = program()
    width = model[0].out_features
    model = kind(model[0], nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 10))
    if is_pretrained:
        model[1].running_mean.fill_(0.3)
    found = rehearse(model, torch.optim.SGD(model.parameters(), 0.1), loader, loss_fn=F.cross_entropy, max_steps=3)
    assert found.training is True
    assert found.in_evaluation_mode == (("1",) if kind is Frozen else ())
    assert found.idle_norms == (("1",) if kind is Frozen and not is_pretrained else ())


def test_a_loss_that_is_not_finite_ends_it() -> None:
    model, optimizer, loader = program()
    found = rehearse(model, optimizer, loader, loss_fn=lambda o, t: F.cross_entropy(o, t) * math.nan, max_steps=9)
    assert (found.ended_by, len(found.steps)) == ("not finite", 1)


def test_a_rate_that_dies() -> None:
    model, optimizer, loader = program()
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1)
    before = everything(model, optimizer, loader), copy.deepcopy(scheduler.state_dict())
    asked = {"loss_fn": F.cross_entropy, "scheduler": scheduler, "max_steps": 4}
    assert [s.lr for s in rehearse(model, optimizer, loader, **asked).steps] == [0.1] * 4, "nothing says: after each batch"
    found = rehearse(model, optimizer, loader, planned_steps=4, **asked)
    assert [s.lr for s in found.steps] == pytest.approx([0.1, 0.01, 0.001, 0.0001])
    assert same(before[0], everything(model, optimizer, loader))
    assert before[1] == scheduler.state_dict()


# ------------------------------------------------------------------------------------------------------- kinds of loop


def test_a_body_that_copies_its_model_in_a_step() -> None:
    """As a target network is made: hooks stay behind, with the outputs that they hold."""
    model, optimizer, loader = program()

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
        target = copy.deepcopy(model).eval()
        target(batch[0])
        assert not any(isinstance(hook, LeftBehind) for part in target.modules() for hook in part._forward_hooks.values())
        return whole_step(model, optimizer, batch)

    found = rehearse(model, optimizer, loader, step=step, max_steps=4)
    assert len(found.steps) == 4
    assert trainability.check(model, loader, step=step, optimizer=optimizer).evidence.rehearsal is not None


def test_a_step_that_uses_the_loops_own_objects_is_rehearsed_on_them() -> None:
    model, optimizer, loader = program()
    started(model, optimizer, loader)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    def step(_: Any, __: Any, batch: Any) -> float:
        loss = whole_step(model, optimizer, batch)
        scheduler.step()
        return loss.item()

    before = everything(model, optimizer, loader), copy.deepcopy(scheduler.state_dict())
    found = rehearse(model, optimizer, loader, step=step, max_steps=6)
    assert found.in_place
    assert [s.lr for s in found.steps][:3] == pytest.approx([0.1, 0.05, 0.025])
    assert found.reference[-1].loss < found.reference[0].loss
    assert found.unmoved in ((), ("0.bias",))  # batch norm takes the bias away: its gradient is rounding
    assert same(before[0], everything(model, optimizer, loader))
    assert before[1] == scheduler.state_dict()


def test_a_scheduler_that_an_optimizers_hook_steps_is_stepped_and_put_back() -> None:
    """Its rate is zero at first, so that a copy without the hook would stay where it is."""
    model, optimizer, loader = program()
    started(model, optimizer, loader)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(step / 4, 1.0))
    optimizer.register_step_post_hook(lambda *_: scheduler.step())
    before = everything(model, optimizer, loader), copy.deepcopy(scheduler.state_dict())
    found = rehearse(model, optimizer, loader, loss_fn=F.cross_entropy, max_steps=6)
    assert [s.lr for s in found.steps] == pytest.approx([0.0, 0.025, 0.05, 0.075, 0.1, 0.1])
    assert same(before[0], everything(model, optimizer, loader))
    assert {k: v for k, v in scheduler.state_dict().items() if k != "lr_lambdas"} == {
        k: v for k, v in before[1].items() if k != "lr_lambdas"
    }


def test_what_a_function_holds_through_functions_of_the_program_that_it_calls() -> None:
    _, optimizer, _ = program()
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    def inner() -> None:
        scheduler.step()

    def outer() -> Any:
        return again(), F.relu

    def again() -> Any:
        return inner, outer

    assert used_by(outer) == [scheduler]
    assert {each.__name__ for each in called_by(outer)} == {"again", "inner"}
    assert called_by(functools.partial(outer)) == called_by(outer)


def test_a_model_that_cannot_be_copied_is_rehearsed_in_place() -> None:
    model, optimizer, loader = program()
    model.lock = (item for item in ())  # type: ignore[assignment]
    before = everything(model, optimizer, loader)
    found = rehearse(model, optimizer, loader, loss_fn=F.cross_entropy, max_steps=4)
    assert found.in_place
    assert "generator" in found.notes[0]
    assert len(found.steps) == 4
    assert same(before, everything(model, optimizer, loader))


def test_lbfgs() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4)
    x = torch.randn(64, 4)
    batches = [(x, x @ torch.tensor([[1.0], [2.0], [-1.0], [0.5]]))]
    before = everything(model, optimizer)
    found = rehearse(model, optimizer, batches, loss_fn=F.mse_loss, max_steps=5)
    assert found.reference[-1].loss < 0.1 * found.reference[0].loss
    assert found.task.kind == "regression"
    assert same(before, everything(model, optimizer))

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.mse_loss(model(batch[0]), batch[1])
            loss.backward()
            return loss

        return optimizer.step(closure)  # type: ignore[arg-type]

    assert [s.loss for s in rehearse(model, optimizer, batches, step=step, max_steps=5).steps] == [s.loss for s in found.steps]


def test_a_gan() -> None:
    torch.manual_seed(0)
    models = {"generator": nn.Linear(4, 8), "critic": nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))}
    optimizers = {name: torch.optim.Adam(part.parameters(), 1e-3) for name, part in models.items()}
    real = [torch.randn(16, 8) for _ in range(6)]

    def step(models: dict[str, nn.Module], optimizers: dict[str, torch.optim.Optimizer], batch: Tensor) -> dict[str, Tensor]:
        fake = models["generator"](torch.randn(len(batch), 4))
        ones, zeros = torch.ones(len(batch), 1), torch.zeros(len(batch), 1)
        critic = models["critic"]
        bce = F.binary_cross_entropy_with_logits
        critic_loss = bce(critic(batch), ones) + bce(critic(fake.detach()), zeros)
        optimizers["critic"].zero_grad()
        critic_loss.backward()
        optimizers["critic"].step()
        loss = bce(critic(fake), ones)
        optimizers["generator"].zero_grad()
        loss.backward()
        optimizers["generator"].step()
        return {"critic": critic_loss, "generator": loss}

    before = copy.deepcopy([*models["generator"].parameters(), *models["critic"].parameters()])
    found = rehearse(models, optimizers, real, step=step, max_steps=5)
    assert [s.optimizer_steps for s in found.steps] == [2] * 5
    assert (found.unmoved, found.critical) == ((), ())
    assert found.opposed
    assert len(found.distances) == 2
    after = [*models["generator"].parameters(), *models["critic"].parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


class TokenModel(nn.Module):
    """A model with the interface of Transformers: keywords in, a mapping with its loss out."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(7, 16), nn.Linear(16, 7)

    def forward(self, input_ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.head(self.embed(input_ids))
        return {"loss": F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()), "logits": logits}


def test_a_language_model_with_dict_batches() -> None:
    torch.manual_seed(0)
    tokens = (torch.arange(12) + torch.randint(7, (64, 1))) % 7
    batches = [{"input_ids": part, "labels": part} for part in tokens.split(8)]
    model = TokenModel()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-2)
    found = rehearse(model, optimizer, batches, training_step=lambda m, batch: m(**batch)["loss"], max_steps=20)
    assert found.reference[-1].loss < 0.7 * found.reference[0].loss
    assert found.critical[0][1].multiple is not None


def test_data_that_ends() -> None:
    model, optimizer, loader = program()
    found = rehearse(model, optimizer, iter([*loader][:4]), loss_fn=F.cross_entropy, max_steps=9)
    assert (found.ended_by, len(found.steps)) == ("data", 3)


def test_the_search_for_a_constant_gets_a_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[float, bool]] = []
    monkeypatch.setattr(rehearsal, "rehearsed_constant", lambda *_, seconds, before=True: given.append((seconds, before)))
    model, optimizer, loader = program()
    rehearse(model, optimizer, loader, training_step=lambda m, b: training_step(m, b).exp(), max_steps=3, seconds=600)
    assert [before for _, before in given] == [True, False]
    assert all(0 < seconds <= 0.2 * 600 for seconds, _ in given)


def test_time_that_ends() -> None:
    model, optimizer, loader = program()
    found = rehearse(model, optimizer, loader, loss_fn=F.cross_entropy, max_steps=10**6, seconds=0.5)
    assert found.ended_by == "time"
    assert 0 <= len(found.steps) < 10**6
    assert not found.critical or found.critical[-1][0] == len(found.steps)  # on a busy machine there may be no time for one


def test_it_ends_where_it_is_told_that_it_has_seen_enough() -> None:
    asked: list[int] = []

    def is_enough(so_far: Rehearsal) -> bool:
        asked.append(len(so_far.steps))
        assert so_far.critical[-1][0] == so_far.reference[-1].step == so_far.steps[-1].step
        return len(so_far.steps) == 15

    model, optimizer, loader = program()
    whole = rehearse(model, optimizer, loader, loss_fn=F.cross_entropy, max_steps=40)
    found = rehearse(model, optimizer, loader, loss_fn=F.cross_entropy, max_steps=40, is_enough=is_enough)
    assert (asked, found.ended_by, len(found.steps)) == ([5, 15], "enough", 15)
    assert found.reference == tuple(look for look in whole.reference if look.step <= 15)
    assert found.critical == whole.critical[: len(found.critical)]


def test_no_form_and_no_data_are_errors() -> None:
    model, optimizer, loader = program()
    with pytest.raises(ValueError, match="training_step"):
        rehearse(model, optimizer, loader)
    with pytest.raises(ValueError, match="empty"):
        rehearse(model, optimizer, [], loss_fn=F.cross_entropy)


# --------------------------------------------------------------------------------------------------------------- copies


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "NAdam", "Adamax", "Rprop", "ASGD"])
def test_copies_step_as_the_originals_would(name: str) -> None:
    model, _, loader = program()
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=1e-2)
    started(model, optimizer, loader)
    twin, twin_optimizer = copied(model, optimizer)
    batch = next(iter(loader))
    for m, o in ((twin, twin_optimizer), (model, optimizer)):
        torch.manual_seed(7)
        whole_step(m, o, batch)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("name", ["SGD", "Adam", "LBFGS"])
def test_originals_are_put_back_after_an_error(name: str) -> None:
    model, _, loader = program()
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=1e-2)
    batch = next(iter(loader))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = training_step(model, batch)
        loss.backward()
        return loss

    def interrupted() -> None:
        with put_back(model, optimizer):
            optimizer.step(closure)
            optimizer.param_groups[0]["lr"] = 3.0
            raise KeyError

    optimizer.step(closure)
    with randomness_restored():
        before = everything(model, optimizer)
        state = torch.get_rng_state()
        with pytest.raises(KeyError):
            interrupted()
        torch.set_rng_state(state)
        assert same(before, everything(model, optimizer))


def test_a_model_with_weight_norm_is_copied() -> None:
    with pytest.warns(FutureWarning):
        layer = nn.utils.weight_norm(nn.Linear(4, 4))
    layer(torch.randn(2, 4)).sum().backward()
    (twin,) = copied(layer)
    assert torch.equal(twin(torch.ones(1, 4)), layer(torch.ones(1, 4)))


# ------------------------------------------------------------------------------------------------ what a body keeps itself


def test_what_a_function_keeps_between_calls_is_put_back() -> None:
    carried, seen, count = {"state": 1}, [1, 2], 0

    class Trainer:
        def __init__(self) -> None:
            self.calls, self.log = 0, ["begun"]

        def step(self, model: Any, batch: Any) -> None:
            self.calls += 1
            self.log.append("stepped")

    def step(model: Any, batch: Any) -> None:
        nonlocal count
        count += 1
        carried["state"] = count + 1
        carried["more"] = count
        seen.append(count)

    trainer = Trainer()
    restore = keep_variables(step, trainer.step, None)
    for _ in range(2):
        step(None, None)
        trainer.step(None, None)
    assert (carried, seen, count, trainer.calls) == ({"state": 3, "more": 2}, [1, 2, 1, 2], 2, 2)
    restore()
    assert (carried, seen, count) == ({"state": 1}, [1, 2], 0)
    assert (trainer.calls, trainer.log) == (0, ["begun"])


class Stateful(nn.Module):
    """Takes batches of one size only: its state is as long as the batch that it met first."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head, self.state = nn.GRUCell(8, 16), nn.Linear(16, 4), None

    def forward(self, x: Tensor) -> Tensor:
        state = self.cells(x, self.state)
        self.state = state.detach()
        return self.head(state)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_state_that_the_model_carries_is_carried_by_the_steps_alone(form: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = Stateful()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    batches = [(torch.randn(32, 8), torch.randint(4, (32,))) for _ in range(12)]
    found = rehearse(model, optimizer, batches, **form, max_steps=6, seconds=600)
    assert model.state is None
    assert not found.in_place
    twin, losses = copied(model)[0], []
    optimizer = torch.optim.SGD(twin.parameters(), 0.1)
    for batch in batches[4:10]:
        losses.append(float(whole_step(twin, optimizer, batch).detach()))
    assert [step.loss for step in found.steps] == losses


def test_sparse_gradients() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(10, 8, sparse=True), nn.Flatten())
    optimizer = torch.optim.SparseAdam(list(model.parameters()), 1e-2)
    batches = [(torch.randint(10, (32, 1)), torch.randint(8, (32,))) for _ in range(8)]
    found = rehearse(model, optimizer, batches, loss_fn=F.cross_entropy, max_steps=4, seconds=600)
    assert all(step.gradient_norm for step in found.steps)
    assert found.stale_gradient == 0.0


def test_sparse_gradients_in_half_precision() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(10, 8, sparse=True), nn.Flatten()).bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), 1e-6)
    batches = [(torch.randint(10, (32, 1)), torch.randint(8, (32,))) for _ in range(8)]
    found = rehearse(model, optimizer, batches, loss_fn=lambda x, y: F.cross_entropy(x.float(), y), max_steps=4, seconds=600)
    assert len(found.steps) == 4
    assert not found.in_place
    unmoved = found.critical[-1][1].unmoved_fraction
    assert unmoved is not None
    assert unmoved > 0.9  # a rate of 1e-6 moves next to no weight of eight bits


# ---------------------------------------------------------------------------------------------------- several optimizers


def two_layers(detach: bool, freeze: bool = False) -> Any:
    """A second layer with its own loss on what the first makes, cut off from it or not."""

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        hidden = model[0](batch[0])
        one = F.cross_entropy(hidden[:, :4], batch[1])
        optimizer[0].zero_grad()
        one.backward()
        optimizer[0].step()
        model[0].requires_grad_(not freeze)
        z = (batch[0] + 0 * batch[0].detach()).requires_grad_(not detach)
        hidden = model[0](z)
        other = F.cross_entropy(model[1](hidden.detach() if detach else hidden), batch[1])
        optimizer[1].zero_grad()
        other.backward()
        optimizer[1].step()
        model[0].requires_grad_(True)
        return one.detach() + other.detach()

    return step


@pytest.mark.parametrize(("detach", "freeze", "opposed"), [(True, False, False), (False, False, True), (False, True, True)])
def test_optimizers_whose_losses_come_through_each_other_s_parts(detach: bool, freeze: bool, opposed: bool) -> None:
    torch.manual_seed(0)
    model = (nn.Linear(8, 16), nn.Linear(16, 4))
    optimizer = tuple(torch.optim.SGD(part.parameters(), 0.1) for part in model)
    batches = [(torch.randn(32, 8), torch.randint(4, (32,))) for _ in range(12)]
    step = two_layers(detach, freeze)
    found = rehearse(model, optimizer, batches, step=step, max_steps=6, seconds=600)
    assert found.opposed is opposed
    assert bool(found.critical) is not opposed

    def with_one_of_its_own(models: Any, second: Any, batch: Any) -> Tensor:
        return step(models, (optimizer[0], second), batch)

    found = rehearse(model, optimizer[1], batches, step=with_one_of_its_own, max_steps=6, seconds=600)
    assert found.opposed is opposed


def test_optimizers_of_one_loss_are_one() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = [torch.optim.SGD(part.parameters(), 0.1) for part in (model[0], model[2])]
    batches = [(torch.randn(32, 8), torch.randint(4, (32,))) for _ in range(12)]

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        loss = training_step(model, batch)
        for each in optimizer:
            each.zero_grad()
        loss.backward()
        for each in optimizer:
            each.step()
        return loss

    found = rehearse(model, optimizer, batches, step=step, max_steps=6, seconds=600)
    assert not found.opposed
    assert [number for number, _ in found.critical] == [1, 5, 6]


class Wrapper(torch.optim.Optimizer):
    """Wraps an optimizer, never calls its own constructor, and knows nothing of copies."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self) -> Any:  # type: ignore[override]
        return self.optimizer.param_groups

    def step(self, closure: Any = None) -> Any:
        return self.optimizer.step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)


def test_an_optimizer_that_wraps_another_is_rehearsed_in_place_and_steps_afterwards() -> None:
    model, optimizer, loader = program()
    wrapper = Wrapper(optimizer)
    before = everything(model, optimizer, loader)
    found = rehearse(model, wrapper, loader, step=whole_step, max_steps=4, seconds=600)
    assert found.in_place
    assert [step.optimizer_steps for step in found.steps] == [1] * 4
    assert same(before, everything(model, optimizer, loader))
    whole_step(model, wrapper, next(iter(loader)))
    assert not same(before, everything(model, optimizer, loader))


class Several:
    """Two optimizers that are stepped as one, as for a table with sparse gradients and the rest of a model."""

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        self.optimizers = optimizers
        self.first = optimizers[0]

    @property
    def param_groups(self) -> list[Any]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def step(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()


def test_an_object_of_one_s_own_that_holds_several_optimizers_is_rehearsed_on_a_copy() -> None:
    model, _, loader = program()
    weights, biases = ([p for p in model.parameters() if (p.dim() > 1) is of] for of in (True, False))
    parts = torch.optim.Adam(weights, 1e-3), torch.optim.SGD(biases, 1e-2)
    before = [*everything(model, parts[0], loader), *everything(model, parts[1], loader)]
    found = rehearse(model, Several(*parts), loader, step=whole_step, max_steps=4, seconds=600)
    apart = rehearse(model, parts, loader, step=lambda m, o, b: whole_step(m, Several(*o), b), max_steps=4, seconds=600)
    assert not found.in_place
    assert [step.optimizer_steps for step in found.steps] == [2] * 4
    assert [seen.loss for seen in found.reference] == [seen.loss for seen in apart.reference]
    assert same(before, [*everything(model, parts[0], loader), *everything(model, parts[1], loader)])


class Queue(nn.Module):
    """Keeps the last rows in a ring that the batch size divides, as where examples are held against those before."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4)
        self.kept: Tensor
        self.register_buffer("kept", torch.randn(192, 4))
        self.at: Tensor
        self.register_buffer("at", torch.zeros(1, dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        z, at = self.layer(x), int(self.at)
        answers = z @ self.kept.clone().T
        self.kept[at : at + len(z)] = z.detach()
        self.at[0] = (at + len(z)) % len(self.kept)
        return answers


def test_a_queue_that_takes_so_many_rows_at_a_time_is_rehearsed_on_a_copy() -> None:
    *_, loader = program()
    model = Queue()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    found = rehearse(model, optimizer, loader, training_step=lambda m, b: m(b[0]).square().mean(), max_steps=30, seconds=600)
    assert len(found.steps) == 30
    assert not found.in_place
    assert int(model.at) == 0


def test_a_step_that_raises_leaves_no_hooks() -> None:
    model, optimizer, loader = program()
    taken: list[int] = []
    optimizer.register_step_post_hook(lambda *_: taken.append(1))

    def step(m: Any, o: Any, batch: Any) -> Tensor:
        if len(taken) == 2:
            raise RuntimeError("the third step")
        o.zero_grad()
        loss = training_step(m, batch)
        loss.backward()
        optimizer.step()  # the caller's own: the rehearsal is in place
        return loss

    with pytest.raises(RuntimeError, match="third"):
        rehearse(model, optimizer, list(loader), step=step, max_steps=8)
    assert len(optimizer._optimizer_step_pre_hooks) == 0
    assert len(optimizer._optimizer_step_post_hooks) == 1


def test_a_state_that_only_the_loader_s_first_batch_begins() -> None:
    torch.manual_seed(0)
    model = nn.RNN(3, 3, batch_first=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    memory: dict[str, Any] = {"hidden": None}
    begun: list[bool] = []

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
        inputs, is_first = batch
        begun.append(is_first)
        hidden = torch.zeros(1, len(inputs), 3) if is_first else memory["hidden"].detach()
        output, memory["hidden"] = model(inputs, hidden)
        loss = output.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    batches = [(torch.randn(4, 5, 3), k == 0) for k in range(40)]
    seen = rehearse(model, optimizer, batches, step=step, max_steps=10)
    assert len(seen.steps) == 10
    assert memory["hidden"] is None
    assert torch._C._len_torch_function_stack() == 0


def test_a_loss_that_reads_the_model_by_itself_is_rehearsed_with_the_weights_that_move() -> None:
    torch.manual_seed(0)
    x = torch.randn(256, 6)
    y = x[:, :1] - x[:, 1:2]

    def judged(reads_itself: bool) -> tuple[float, ...]:
        torch.manual_seed(0)
        model = nn.Linear(6, 1)
        kept = [p.detach().clone() for p in model.parameters()]
        loss = {"loss": lambda out, target: F.mse_loss(out, target) + 0.1 * model.weight.square().sum()}
        given = {"training_step": lambda m, batch: F.mse_loss(m(batch[0]), batch[1]) + 0.1 * m.weight.square().sum()}
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        form = {"loss_fn": loss["loss"]} if reads_itself else given
        loader = DataLoader(TensorDataset(x, y), 32, shuffle=True)
        report = trainability.check(trainability.Setup(model=model, train_loader=loader, optimizer=optimizer, **form))
        assert all(torch.equal(p, old) for p, old in zip(model.parameters(), kept, strict=True))
        assert report.evidence.rehearsal is not None
        return tuple(seen.loss for seen in report.evidence.rehearsal.reference)

    assert judged(True) == pytest.approx(judged(False))

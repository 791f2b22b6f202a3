"""A step of somebody else's loop as a function: recorded, computed again, and asked at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor.batches import tensors
from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.facts import Facts, LossGraph, Unreached
from trainability.doctor.joining import completed_facts
from trainability.doctor.measure.recorded_step import RecordedStep, recorded_step
from trainability.doctor.measure.step_tape import StepTape
from trainability.loops.script_watch import ScriptWatch


def recorded(model: nn.Module, step: Callable[[], Tensor], batches: tuple[Any, ...] = ()) -> RecordedStep | None:
    """Record what `step` computes, from the batches that a loader is said to have yielded."""
    tape = StepTape(model)
    assert tape.begin()
    for batch in batches:
        tape.take(batch)
    loss = step()
    loss.backward()
    tape.end()
    found = recorded_step(tape, model, loss)
    tape.forget()
    assert torch._C._len_torch_function_stack() == 0
    return found


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))


def labelled(seed: int, count: int = 32) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, generator=rng), torch.randint(3, (count,), generator=rng)


# ------------------------------------------------------------------------------ the same loss, with other batches and weights


class Parts(nn.Module):
    """Its parts are called one by one; a parameter of its own is used by the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.scale = nn.Parameter(torch.tensor(0.5))


def plain(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def smoothed(model: nn.Module, batch: Any) -> Tensor:
    inputs, labels = batch
    target = torch.full((len(labels), 3), 0.05)
    target[torch.arange(len(labels)), labels] = 0.9
    return -(target * model(inputs).log_softmax(dim=1)).sum(dim=1).mean()


def by_parts(model: Any, batch: Any) -> Tensor:
    hidden = torch.relu(model.body(batch[0]))
    return F.cross_entropy(model.head(hidden) * model.scale, batch[1]) + 1e-3 * model.head.weight.square().sum()


def doubled(model: nn.Module, batch: Any) -> Tensor:
    inputs, labels = batch
    inputs = inputs.clone()
    inputs[:, 0] *= 2
    inputs.mul_(0.5)
    return F.cross_entropy(model(inputs), labels)


def differentiated(model: nn.Module, batch: Any) -> Tensor:
    inputs = batch[0].clone().requires_grad_(True)
    (slopes,) = torch.autograd.grad(model(inputs).sum(), inputs, create_graph=True)
    return slopes.square().mean() + F.cross_entropy(model(inputs), batch[1])


def beside_fixed(model: nn.Module, batch: Any) -> Tensor:
    with torch.no_grad():
        wanted = model(batch[0]).softmax(dim=1)
    return F.cross_entropy(model(batch[0].flip(0)), wanted) + F.cross_entropy(model(batch[0]), batch[1])


def by_rows(model: nn.Module, batch: Any) -> Tensor:
    return torch.stack([model(row[None])[0, :2] for row in batch[0]]).square().mean() + plain(model, batch)


def cast(model: nn.Module, batch: Any) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(batch[0])
    return F.cross_entropy(output.float(), batch[1]) / 4


STEPS = (plain, smoothed, cast, by_rows, by_parts, doubled, differentiated, beside_fixed)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_a_recorded_step_is_the_loops_own_function_of_weights_and_batch(step: Callable[[Any, Any], Tensor]) -> None:
    model = Parts() if step is by_parts else net()
    batch = labelled(1)
    found = recorded(model, lambda: step(model, batch), (batch,))
    assert found is not None
    assert found.is_of_loader
    other, twin = labelled(2), Parts() if step is by_parts else net()
    with torch.no_grad():
        for p in twin.parameters():
            p.mul_(1.5).add_(0.1)
    for wanted_model, given in ((model, batch), (model, other), (twin, other)):
        wanted = step(wanted_model, given)
        again = found(wanted_model, given)
        assert again.item() == pytest.approx(wanted.item(), rel=1e-5)
        ours, theirs = (
            torch.autograd.grad(loss, list(wanted_model.parameters()), allow_unused=True) for loss in (again, wanted)
        )
        for a, b in zip(ours, theirs, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                torch.testing.assert_close(a, b)
    for tensor, fresh in zip(other, labelled(2), strict=True):
        assert torch.equal(tensor, fresh)  # what is written into is a copy


def test_of_a_loop_without_a_loader_the_batch_is_what_it_picks() -> None:
    model, (inputs, labels) = net(), labelled(1, 200)
    rows = torch.randperm(200)[:16]
    found = recorded(model, lambda: F.cross_entropy(model(inputs[rows]), labels[rows]))
    assert found is not None
    assert not found.is_of_loader
    assert [tuple(tensor.shape) for _, tensor in tensors(found.batch)] == [(16, 6), (16,)]
    other = labelled(3, 16)
    assert found(model, other).item() == pytest.approx(F.cross_entropy(model(other[0]), other[1]).item(), rel=1e-6)


def test_of_a_loop_that_makes_its_data_the_batch_is_what_the_model_and_the_loss_are_given() -> None:
    model = net()

    def step() -> Tensor:
        inputs = torch.randn(24, 6)
        return F.cross_entropy(model(inputs), inputs[:, :3].argmax(dim=1))

    found = recorded(model, step)
    assert found is not None
    assert [tuple(tensor.shape) for _, tensor in tensors(found.batch)] == [(24, 6), (24,)]


class _Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * gradient


def turned(model: nn.Module, inputs: Tensor) -> Tensor:
    """Rows that are moved by a draw, which is their label."""
    by = torch.randint(0, 3, (len(inputs),))
    return F.cross_entropy(model(torch.stack([row.roll(int(k)) for row, k in zip(inputs, by, strict=True)])), by)


@pytest.mark.parametrize(
    "loss",
    [
        lambda model, batch: F.cross_entropy(model(batch[0]), torch.tensor(batch[1].tolist()).roll(1)),
        lambda model, batch: turned(model, batch[0]),
        lambda model, batch: F.cross_entropy(_Double.apply(model(batch[0])), batch[1]),
    ],
    ids=["numbers go on in Python", "draws go on in Python", "a function of the program's own"],
)
def test_what_cannot_be_seen_makes_no_function(loss: Callable[[Any, Any], Tensor]) -> None:
    model, batch = net(), labelled(1)
    assert recorded(model, lambda: loss(model, batch), (batch,)) is None


# -------------------------------------------------------------------------------------------------- asked when a loop is over


def followed(loop: Callable[[], Any]) -> dict[str, Diagnosis]:
    """The diagnoses of a loop that is followed as a script is."""
    watch = ScriptWatch(Path("loop.py"), every=20, most_steps=None, place=None)
    watch.begin()
    try:
        loop()
    finally:
        watch.end(None)
    return watch.diagnoses


def codes(diagnosis: Diagnosis) -> set[str]:
    return {finding.code for finding in diagnosis.findings if finding.severity != "hint"}


def two_views(shift: int) -> Iterator[float]:
    """A contrastive loss of concatenated views, whose positives lie n rows away, or one row beside that."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    centres = torch.randn(640, 12)
    for _ in range(12):
        for (rows,) in DataLoader(TensorDataset(centres), batch_size=64, shuffle=True):
            views = torch.cat([rows + 0.1 * torch.randn_like(rows) for _ in range(2)])
            z = F.normalize(model(views), dim=1)
            places = torch.arange(128)
            likeness = (z @ z.T / 0.2).masked_fill(torch.eye(128, dtype=torch.bool), -1e9)
            loss = F.cross_entropy(likeness, (places + 64 + shift) % 128)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()


def pulled_states(keep: bool) -> Iterator[float]:
    """Values of transitions that keep references to a state that goes on changing, or copies of it."""
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(1)
    moves = 0.3 * torch.randn(600, 2, generator=rng)
    after = torch.randn(600, 2, generator=rng)
    before = after if keep else after - moves
    data = TensorDataset(before, after, moves.sum(dim=1), torch.zeros(600))
    value = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(value.parameters(), lr=1e-3)
    for _ in range(12):
        for state, following, reward, done in DataLoader(data, batch_size=60, shuffle=True):
            with torch.no_grad():
                target = reward + 0.9 * (1 - done) * value(following).squeeze(1)
            loss = F.mse_loss(value(state).squeeze(1), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()


PROGRAMS = {
    "views": (lambda faulty: two_views(1 if faulty else 0), "wrong_sign.views"),
    "states": (pulled_states, "unread_ends.same"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_followed_loop_is_asked_what_check_asks(name: str) -> None:
    program, code = PROGRAMS[name]
    found = {faulty: followed(lambda faulty=faulty: list(program(faulty))) for faulty in (True, False)}
    assert [codes(diagnosis) for diagnosis in found[True].values()] == [{code}]
    assert [codes(diagnosis) for diagnosis in found[False].values()] == [set()]


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_a_followed_loop_computes_is_the_same_bits(name: str) -> None:
    program, _ = PROGRAMS[name]
    alone, watched, state = list(program(True)), list[float](), list[Tensor]()

    def loop() -> None:
        watched.extend(program(True))
        state.append(torch.get_rng_state())

    followed(loop)
    assert watched == alone
    assert torch.equal(state[0], torch.get_rng_state())


def test_weights_and_modes_are_as_the_loop_left_them() -> None:
    kept: list[Any] = []

    def loop() -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(30):
            batch = labelled(step)
            optimizer.zero_grad()
            plain(model, batch).backward()
            optimizer.step()
        model.eval()
        kept.append((model, {name: value.clone() for name, value in model.state_dict().items()}))

    followed(loop)
    model, state = kept[0]
    assert not any(module.training for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_optimizers_that_take_turns_are_left_alone_and_one_after_the_other_are_not() -> None:
    asked: dict[bool, list[bool]] = {}
    for takes_turns in (True, False):
        watch = ScriptWatch(Path("loop.py"), every=20, most_steps=None, place=None)
        watch.begin()
        models = [net(), net()]
        optimizers = [torch.optim.Adam(model.parameters(), lr=1e-3) for model in models]
        order = [0, 1] * 20 if takes_turns else [0] * 20 + [1] * 20
        for place, which in enumerate(order):
            batch = labelled(place)
            optimizers[which].zero_grad()
            plain(models[which], batch).backward()
            optimizers[which].step()
        watch.end(None)
        asked[takes_turns] = [watch._recordings.step.facts(monitor) is not None for monitor in watch._monitors.values()]
    assert asked == {True: [False, False], False: [True, True]}


def test_a_loss_of_not_a_number_is_asked_as_well() -> None:
    def loop() -> None:
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e3)
        for step in range(20):
            inputs, labels = labelled(step)
            optimizer.zero_grad()
            F.cross_entropy(model(inputs * 1e3) * (math.nan if step > 5 else 1.0), labels).backward()
            optimizer.step()

    (diagnosis,) = followed(loop).values()
    assert diagnosis.findings


def test_a_step_that_was_looked_at_tells_what_is_reached_and_one_that_was_only_followed_does_not() -> None:
    watched = Facts(unreached=(Unreached(name="a.weight", reason="unused"),), loss=1.0)
    assert completed_facts(watched, Facts(credited=("rewards", 0.9))).unreached == watched.unreached
    looked = completed_facts(watched, Facts(graph=LossGraph(), loss=2.0))
    assert looked.unreached == ()
    assert looked.loss == 1.0  # numbers are those of the start

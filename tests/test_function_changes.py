"""A program whose functions are exchanged is the program that was written so: curves are equal, bit for bit."""

from collections.abc import Callable
from typing import Any

import planted_programs as planted
import pytest
import torch
from test_experiments import made
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Evidence, Setup
from trainability.doctor.experiments.catalogue import INTERVENTIONS
from trainability.doctor.experiments.sources import Source
from trainability.doctor.experiments.variant import run


class Sign(torch.autograd.Function):
    """The sign, with the derivative of a line from -1 to 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.sign(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0] * (ctx.saved_tensors[0].abs() <= 1)


class Above(torch.autograd.Function):
    """1 above a tenth, with the derivative of a line from 1 below it to 1 above."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0.1).float()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0] * ((ctx.saved_tensors[0] - 0.1).abs() <= 1)


class Whole(torch.autograd.Function):
    """Rounding, with the derivative of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0]


class Between(nn.Module):
    """Two layers with a function between them."""

    def __init__(self, between: Callable[..., Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.between = nn.Linear(64, 24), nn.Linear(24, 10), between

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.last(self.between(self.first(x))))


class Thrown(nn.Module):
    """Two layers and dropout as a function."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.first, self.last, self.p = nn.Linear(64, 24), nn.Linear(24, 10), p

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.dropout(self.first(x), self.p, self.training))


def without_gradient(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x * 1.0


def body(model: Any, optimizer: Any, batch: Any) -> Tensor:
    optimizer.zero_grad()
    loss = F.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.detach()


def applies_and_curve(model: Callable[[], nn.Module], change: str | None, *, whole: bool = False) -> tuple[bool, Any]:
    def program() -> Setup:
        own = model()
        return planted.on_digits(own, torch.optim.Adam(own.parameters(), 1e-2), **({"step": body} if whole else {}))

    setup = made(program)
    source = Source(setup, Evidence(), list(setup.train_loader)[:8])
    with source.variant() as variant:
        applies = change is None or INTERVENTIONS[change].applies(variant)
    with source.variant() as variant:
        if change is not None:
            INTERVENTIONS[change].make(variant)
        return applies, run(variant, 8, every=2).curve


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("change", "as_it_is", "meant"),
    [
        ("detach_off", lambda: Between(Tensor.detach), lambda: Between(lambda x: x)),
        ("detach_off", lambda: Between(lambda x: x.data), lambda: Between(lambda x: x)),
        ("detach_off", lambda: Between(without_gradient), lambda: Between(lambda x: x * 1.0)),
        ("straight_through", lambda: Between(torch.sign), lambda: Between(Sign.apply)),
        ("straight_through", lambda: Between(torch.round), lambda: Between(Whole.apply)),
        ("straight_through", lambda: Between(lambda x: (x > 0.1).float()), lambda: Between(Above.apply)),
        ("dropout_off", lambda: Thrown(0.9), lambda: Thrown(0.0)),
        ("leaky_relu", lambda: Between(F.relu), lambda: Between(lambda x: F.leaky_relu(x, 0.1))),
        ("relu", lambda: Between(torch.sigmoid), lambda: Between(lambda x: F.relu(x))),
    ],
)
def test_a_changed_program_is_the_one_that_is_meant(
    change: str, as_it_is: Callable[[], nn.Module], meant: Callable[[], nn.Module], whole: bool
) -> None:
    applies, changed = applies_and_curve(as_it_is, change, whole=whole)
    assert applies
    assert changed == applies_and_curve(meant, None, whole=whole)[1]
    assert changed != applies_and_curve(as_it_is, None, whole=whole)[1]


class TwoEnds(nn.Module):
    """One layer, and two that read it, each through detach or not."""

    def __init__(self, *cut: bool) -> None:
        super().__init__()
        self.first, self.one, self.other, self.cut = nn.Linear(64, 24), nn.Linear(24, 10), nn.Linear(24, 10), cut

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        one, other = (h.detach() if cut else h for cut in self.cut)
        return self.one(one) + self.other(other)


@pytest.mark.parametrize("whole", [False, True])
def test_of_two_cuts_the_last_is_undone_where_it_suffices(whole: bool) -> None:
    applies, changed = applies_and_curve(lambda: TwoEnds(True, True), "detach_off", whole=whole)
    assert applies
    assert changed == applies_and_curve(lambda: TwoEnds(True, False), None, whole=whole)[1]
    assert changed != applies_and_curve(lambda: TwoEnds(False, False), None, whole=whole)[1]


@pytest.mark.parametrize(
    ("change", "model"),
    [
        ("detach_off", lambda: Between(lambda x: x + 0 * x.detach())),  # what is detached is reached another way
        ("straight_through", lambda: Between(torch.tanh)),
        ("dropout_off", lambda: Thrown(0.0)),
        ("relu", lambda: Between(lambda x: x)),  # the tanh at the end is no hidden one
        ("leaky_relu", lambda: planted.mlp(64, 10)),
    ],
)
def test_a_change_of_functions_that_are_not_called_does_not_apply(change: str, model: Callable[[], nn.Module]) -> None:
    assert not applies_and_curve(model, change)[0]


def test_a_derivative_of_which_the_loss_is_made_is_differentiated() -> None:
    """A penalty on the slope, with and without a graph of its own."""

    def curve(graph: bool, change: str | None) -> Any:
        def loss(model: Any, batch: Any) -> Tensor:
            x = batch[0].clone().requires_grad_()
            out = model(x)
            (slope,) = torch.autograd.grad(out.sum(), x, retain_graph=True, create_graph=graph)
            return F.cross_entropy(out, batch[1]) + slope.square().mean()

        setup = made(lambda: planted.on_digits(planted.mlp(64, 16, 10, act=nn.Tanh), training_step=loss))
        with Source(setup, Evidence(), list(setup.train_loader)[:6]).variant() as variant:
            if change is not None:
                INTERVENTIONS[change].make(variant)
            return run(variant, 6, every=2).curve

    assert curve(False, "detach_off") == curve(True, None)
    assert curve(False, None) != curve(True, None)


@pytest.mark.parametrize("whole", [False, True])
def test_a_column_that_meets_a_row_is_held_against_its_own_example(whole: bool) -> None:
    x = torch.randn(128, 8, generator=torch.Generator().manual_seed(0))

    def curve(fits: bool, change: str | None) -> tuple[bool, Any]:
        def loss(model: Any, batch: Any) -> Tensor:
            made, true = model(batch[0]), batch[1][:, None] if fits else batch[1]
            return (0.5 * (true - made) ** 2).mean()

        def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
            optimizer.zero_grad()
            value = loss(model, batch)
            value.backward()
            optimizer.step()
            return value

        def program() -> Setup:
            model = planted.mlp(8, 16, 1)
            words: dict[str, Any] = {"step": step} if whole else {"training_step": loss}
            return Setup(
                model=model,
                train_loader=planted.loader(x, x[:, 0]),
                optimizer=torch.optim.SGD(model.parameters(), 0.1),
                **words,
            )

        setup = made(program)
        source = Source(setup, Evidence(), list(setup.train_loader))
        with source.variant() as variant:
            applies = INTERVENTIONS["target_shape"].applies(variant)
        with source.variant() as variant:
            if change is not None:
                INTERVENTIONS[change].make(variant)
            return applies, [loss for _, loss in run(variant, 4, every=1).curve]

    applies, changed = curve(False, "target_shape")
    fits, meant = curve(True, None)
    assert (applies, fits) == (True, False)
    assert changed == pytest.approx(meant, rel=1e-6)
    assert changed != pytest.approx(curve(False, None)[1], rel=1e-2)


def test_batches_are_joined_in_turn() -> None:
    x, y = planted.digits()
    few = planted.loader(x[:40], y[:40], batch=2, shuffle=False)
    setup = made(lambda: planted.on_digits(planted.mlp(64, 10), train_loader=few))
    with Source(setup, Evidence(), list(setup.train_loader)).variant() as variant:
        assert INTERVENTIONS["batch_larger"].applies(variant)
        INTERVENTIONS["batch_larger"].make(variant)
        assert [len(labels) for _, labels in variant.batches] == [16, 16, 16]
        assert torch.equal(variant.batches[1][1], y[16:32])

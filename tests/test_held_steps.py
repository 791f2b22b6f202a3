"""Steps that an optimizer takes and does not make, rates that end early, places of a grid, tiny targets, tables of two tensors.

Each stands beside a sound neighbour that differs in a number or a line.
"""

import contextlib
import dataclasses
import itertools
from typing import Any

import pytest
import torch
from rule_examples import SGD, beside_the_mean, steps
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from trainability import Monitor, check, follow
from trainability.doctor import Diagnosis, audit_data, diagnose
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import Facts
from trainability.doctor.measure.relation import read_relation


class Own(torch.optim.Optimizer):
    """Gradient descent that writes in place, or binds a name."""

    def __init__(self, params: Any, lr: float, in_place: bool = True, every: int = 1) -> None:
        super().__init__(params, {"lr": lr})
        self.in_place, self.every, self.calls = in_place, every, 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update, at every so many calls."""
        self.calls += 1
        if self.calls % self.every:
            return
        for group in self.param_groups:
            for p in group["params"]:
                if self.in_place:
                    p.add_(p.grad, alpha=-group["lr"])
                else:
                    p = p - group["lr"] * p.grad


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def looked_at(options: dict[str, Any], kind: type[torch.optim.Optimizer] = Own) -> tuple[Diagnosis, Diagnosis]:
    """What `check` says before, and Monitor after 60 steps."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = kind(model.parameters(), **options)
    x = drawn(256, 6)
    loader = DataLoader(TensorDataset(x, x[:, :1]), 32)
    before = check(model, loader, optimizer=optimizer, loss_fn=nn.functional.mse_loss)
    with Monitor(model, optimizer, 10) as monitor:
        for inputs, targets in itertools.islice(itertools.cycle(loader), 60):
            loss = nn.functional.mse_loss(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    return before, monitor.diagnose()


def codes(diagnosis: Diagnosis) -> list[str]:
    return [f.code for f in diagnosis.findings if f.severity != "hint"]


def test_an_optimizer_that_writes_to_copies_is_told_from_one_whose_steps_round_away() -> None:
    before, during = looked_at({"lr": 0.05, "in_place": False})
    assert codes(before) == ["unmoved_parameter.not_written"]
    assert codes(during) == ["untrained_parameter.not_written"]
    before, during = looked_at({"lr": 1e-12})
    assert codes(before) == ["unmoved_parameter.rounding"]
    assert codes(during) == ["untrained_parameter.gradient_lost"]
    assert [codes(seen) for seen in looked_at({"lr": 0.05})] == [[], []]
    seen = looked_at({"lr": 0.005, "every": 7})[1]  # at none of the sampled steps, and between them
    assert "untrained_parameter" not in [f.rule for f in seen.findings]


def test_lbfgs_that_has_arrived_makes_no_steps() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 4)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5)
    with Monitor(model, optimizer, every=2) as monitor:

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), x[:, :3].argmax(dim=1))
            loss.backward()
            monitor.after_backward(loss)
            return loss

        for _ in range(20):
            optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    assert monitor.evidence().samples[-1].layers[0].update_ratio == 0.0
    assert "untrained_parameter" not in [f.rule for f in monitor.diagnose().findings if f.severity != "hint"]


def test_dampening_that_keeps_gradients_out_explains_weights_at_rest() -> None:
    before, during = looked_at({"lr": 0.002, "momentum": 0.5, "dampening": 1.0}, torch.optim.SGD)
    assert codes(before) == codes(during) == ["long_momentum.dampening"]
    for momentum, dampening, damped in ((0.9, 0.9, False), (0.99, 0.99, False), (0.5, 0.94, False), (0.5, 0.96, True)):
        settings = dataclasses.replace(SGD, momentum=momentum, dampening=dampening)
        assert ("long_momentum.dampening" in codes(diagnose(Evidence(optimizer=settings)))) is damped


@pytest.mark.parametrize(("loss", "severity"), [(1.95, "warning"), (0.5, "hint")])
def test_a_rate_that_ended_is_no_hint_where_the_loss_came_down_to_a_constant_s_cost(loss: float, severity: str) -> None:
    evidence = beside_the_mean(loss, 400)
    losses = [20.0] * 5 + [loss] * 395
    rates = [0.94**i for i in range(400)]
    taken = tuple(dataclasses.replace(s, lr=rate) for s, rate in zip(steps(losses), rates, strict=True))
    found = diagnose(dataclasses.replace(evidence, steps=taken)).findings
    assert [f.severity for f in found if f.rule == "rate_dies"] == [severity]


def overlap(train: Tensor, validation: Tensor) -> float | None:
    parts = [[(x, x.sum(dim=1))] for x in (train, validation)]
    return audit_data(*parts).overlap_fraction


def test_two_grids_meet_and_random_places_do_not() -> None:
    line = torch.linspace(-1, 1, 129)[:, None]
    square = torch.cartesian_prod(torch.arange(16.0), torch.arange(16.0))
    kept = torch.randperm(129, generator=torch.Generator().manual_seed(0))[:60]
    for grid, other in ((line, torch.linspace(-1, 1, 65)[:, None][1::2]), (square, square[::3] / 2), (line[kept], line)):
        assert overlap(grid, torch.cat([other, torch.full((1, grid.shape[1]), 0.123)])) is None
    assert overlap(line, line[::2]) == 1.0  # nothing else is left of validation
    places = drawn(200, 2)
    assert overlap(places, torch.cat([places[:20], drawn(80, 2, seed=1)])) == pytest.approx(0.2)


TINY = {
    "target_rms": 3e-5,
    "output_rms": 0.14,
    "target_below_zero": 0.5,
    "loss": 0.009,
    "output_shape": (32, 1),
    "target_shape": (32, 1),
    "task_form": "values",
}


@pytest.mark.parametrize(
    ("change", "is_told"),
    [
        ({}, True),
        ({"target_below_zero": 0.0}, False),  # the outputs may be logarithms
        ({"loss": 1e-9}, False),  # the loss brings a scale in
        ({"target_rms": 2e-3}, False),
        ({"target_shape": (32,)}, False),
    ],
)
def test_tiny_targets_under_a_loss_of_another_kind(change: dict[str, Any], is_told: bool) -> None:
    found = diagnose(Evidence(facts=Facts(**{**TINY, **change})))
    assert ("target_scale.small" in codes(found)) is is_told


def test_a_table_of_names_beside_numbers_is_compared_where_the_targets_are_known() -> None:
    rng = torch.Generator().manual_seed(5)
    names = torch.stack([torch.randint(40, (600,), generator=rng), torch.randint(5, (600,), generator=rng)], dim=1)
    numbers, noise = drawn(600, 2, seed=1), drawn(600, 1, seed=2)
    by_name = drawn(40, 1, seed=3)[names[:, 0]] + 0.1 * noise
    assert read_relation([(names, numbers, by_name)]) is None  # which of the three, is not known
    found = read_relation([(names, numbers, by_name)], "[2]")
    assert found is not None
    assert found.categories == (0,)
    by_size = read_relation([(names, numbers, names[:, :1] / 20 + 0.1 * noise)], "[2]")
    assert by_size is not None
    assert by_size.categories == ()
    apart = read_relation([(names, numbers, noise)], "[2]")
    assert apart is not None
    assert apart.mixed  # they may tell it together only
    assert apart.z < 3.5


def cleared_at(place: str, *, to_none: bool, steps: int = 1, tells: str = "monitor") -> Diagnosis:
    """A loop that clears gradients "before" the backward pass, "between" it and the step, or "early": before it is watched."""
    torch.manual_seed(0)
    watch = follow() if tells == "follow" else None
    model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    x, y = torch.randn(32, 6), torch.randint(3, (32,))
    monitor = Monitor(model, optimizer)
    with contextlib.nullcontext() if watch is not None else monitor:
        for _ in range(steps):
            if place == "before":
                optimizer.zero_grad(set_to_none=to_none)
            loss = torch.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            if place == "early":
                optimizer.zero_grad(set_to_none=to_none)
            if watch is None:
                monitor.after_backward(loss)
            if place == "between":
                model.zero_grad(set_to_none=to_none)
            optimizer.step()
    if watch is None:
        return monitor.diagnose()
    watch.end(None)
    (diagnosis,) = watch.diagnoses.values()
    return diagnosis


@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize("tells", ["monitor", "follow"])
def test_one_step_tells_that_gradients_are_cleared_before_it(tells: str, to_none: bool) -> None:
    (finding,) = [f for f in cleared_at("between", to_none=to_none, tells=tells).findings if f.severity != "hint"]
    assert (finding.code, finding.severity) == ("untrained_parameter.gradient_lost", "error")
    assert "zero_grad" in finding.remedy
    assert codes(cleared_at("before", to_none=to_none, tells=tells)) == []


def test_a_pass_whose_gradients_are_cleared_before_the_next_is_no_missing_zero_grad() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 6)
    y, model = x[:, :3].argmax(dim=1), nn.Linear(6, 3)
    watch, optimizer = follow(), torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        nn.functional.cross_entropy(model(x[:8]), y[:8]).backward()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    watch.end(None)
    (diagnosis,) = watch.diagnoses.values()
    assert codes(diagnosis) == []


def test_gradients_that_are_gone_before_they_are_looked_at_are_missed_by_the_graph() -> None:
    assert codes(cleared_at("early", to_none=True)) == ["untrained_parameter.gradient_lost"]


def test_what_steps_and_clears_in_the_backward_pass_means_it() -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        with torch.no_grad():
            parameter -= 0.1 * parameter.grad
        parameter.grad = None

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    with Monitor(model, optimizer) as monitor:
        loss = torch.nn.functional.cross_entropy(model(torch.randn(32, 6)), torch.randint(3, (32,)))
        loss.backward()
        monitor.after_backward(loss)
        optimizer.step()
    assert "untrained_parameter.gradient_lost" not in codes(monitor.diagnose())


class Adversarial(nn.Module):
    """A generator, which a call of the whole runs, and its discriminator."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.discriminator = nn.Linear(4, 6), nn.Linear(6, 1)

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        return self.generator(noise)


def test_a_discriminator_that_is_frozen_for_the_other_turn_has_no_old_gradients() -> None:
    torch.manual_seed(0)
    model, x, watch = Adversarial(), torch.randn(32, 6), follow()
    optimizers = [torch.optim.Adam(part.parameters(), lr=1e-3) for part in (model.generator, model.discriminator)]
    for _ in range(300):
        made = model(torch.randn(32, 4))
        model.discriminator.requires_grad_(True)
        optimizers[1].zero_grad()
        loss = nn.functional.softplus(-model.discriminator(x)).mean() + nn.functional.softplus(model.discriminator(made)).mean()
        loss.backward()
        optimizers[1].step()
        model.discriminator.requires_grad_(False)
        optimizers[0].zero_grad()
        nn.functional.softplus(-model.discriminator(model(torch.randn(32, 4)))).mean().backward()
        optimizers[0].step()
    watch.end(None)
    found = [diagnosis for diagnosis in watch.diagnoses.values() if diagnosis.evidence.samples]
    assert found
    assert all("missing_zero_grad" not in codes(diagnosis) for diagnosis in found)
